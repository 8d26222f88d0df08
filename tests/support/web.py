"""The HTTP edge over the application, in this process, with every port controlled by the test."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from application.feed.live_feed import LiveFeed
from application.operations.readiness import Probe
from application.record.access_log import AccessRecorder, NoteAccess
from application.tickets.slow_hashing import SlowHashing
from application.transaction.command import Answer, Command
from application.transaction.group_read import GroupRead
from interface.composition.register import PERMISSIONS, RouteContext, rooms
from interface.http.core.app import create_app
from interface.http.core.authentication import TokenVerifier
from interface.http.core.call import Service as HttpService
from interface.http.core.concurrency_limit import ConcurrencyLimit
from interface.http.core.large_answers import LargeAnswers
from interface.http.core.rate_limits import RateLimits
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.keys.token_key import TokenKey
from interface.settings import Settings
from tests.support.fakes import FakeSlowHash
from tests.support.service import AnyStore, Service, service_over

BASE = "/nevisidm/api/core/v1"
PUBLIC_URL = "https://tickets.example"
USER = f"{BASE}/client-123/users/user-123"
TICKET = f"{USER}/ticket"
RESET = f"{TICKET}/reset"
# The limits of the requests at the same time.
LISTS, FOLLOWERS = 8, 4
LIMITS = {"per_caller": "1000/minute", "per_client": "off", "per_credential": "50/minute"}
NO_LIMITS = dict.fromkeys(LIMITS, "off")


@dataclass
class Web:
    """A client with every permission, and the service behind it. unrecorded: accesses that were left out, and why."""

    client: TestClient
    service: Service
    key: TokenKey
    unrecorded: list[tuple[NoteAccess, str]]

    def token(self, **changes: Any) -> str:
        """Return a token with every permission and these changes."""
        terms: dict[str, Any] = {
            "subject": "helpdesk",
            "clients": ["*"],
            "permissions": PERMISSIONS,
            "issuer": "tickets",
            "audience": "tickets",
            "now": datetime.now(UTC),
            "lifetime": timedelta(hours=1),
        }
        return self.key.sign(**{**terms, **changes})

    def as_caller(self, **changes: Any) -> dict[str, str]:
        """Return the header of another caller."""
        return {"Authorization": f"Bearer {self.token(**changes)}"}

    def given_a_user(self) -> None:
        """Register the user of the examples."""
        assert self.client.put(USER, json={"email": "user-123@example.com"}).status_code in (200, 201)

    def given_a_ticket(self, **body: Any) -> None:
        """Register the user of the examples, and create the ticket."""
        self.given_a_user()
        assert self.client.post(TICKET, json=body).status_code == 201


def references(part: Any) -> Iterator[str]:
    """Yield every `$ref` in a part of a JSON document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


@cache
def _set_keys() -> SetKeys:
    """Return the keys of all tests of a process: their creation takes half a second."""
    with TemporaryDirectory() as directory:
        keys = SetKeys(Path(directory) / "set.pem")
        keys.key_set()
    return keys


@contextmanager
def web_over(
    store: AnyStore, keys: Path, limits: Mapping[str, str] | None = None, **edge: Any
) -> Iterator[Web]:
    """Yield the HTTP edge over a store. limits: of rates, instead of LIMITS. edge: further arguments of `create_app`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await live.close()

    live = LiveFeed(store, "tickets", PUBLIC_URL)
    key = TokenKey(keys / "token.pem")
    verifier = TokenVerifier(key.key_set(), issuer="tickets", audience="tickets")
    unrecorded: list[tuple[NoteAccess, str]] = []
    with service_over(store, max_daily_deliveries=20) as service:

        async def execute(command: Command) -> Answer:
            return await asyncio.wrap_future(service.commands.submit(command))

        accesses = AccessRecorder(execute, service.clock, lambda *left_out: unrecorded.append(left_out))
        context = RouteContext(
            settings=Settings(public_url=PUBLIC_URL, ledger_name="tickets"),
            store=store,
            reads=store,
            live=live,
            signer=LedgerKeys(keys / "ledger", "tickets", clock=service.clock, overlap=timedelta(days=30)),
            set_keys=_set_keys(),
            sealer=service.sealer,
            clock=service.clock,
            randomness=service.randomness,
            readiness=Probe({}),
            exposition=lambda: b"",
        )
        app = create_app(
            HttpService(
                execute=SlowHashing(execute, FakeSlowHash()).execute,
                load=GroupRead(store).load,
                store=store,
                accesses=accesses,
                clock=service.clock,
                verifier=verifier,
                rate_limits=RateLimits(**(limits or LIMITS)),
                large_answers=LargeAnswers(
                    ConcurrencyLimit("lists", per_client=LISTS, setting="TICKETS_LISTS"),
                    ConcurrencyLimit(
                        "live streams and long polls",
                        per_client=FOLLOWERS + 1,
                        per_caller=FOLLOWERS,
                        setting="TICKETS_FOLLOWERS",
                    ),
                ),
                new_uuid=service.randomness.uuid,
                digest_keys=lambda newest: [b"key"],  # noqa: ARG005 - as the port
            ),
            rooms(context),
            lifespan,
            **edge,
        )
        with TestClient(app, raise_server_exceptions=False) as client:
            web = Web(client, service, key, unrecorded)
            client.headers.update(web.as_caller())
            yield web
