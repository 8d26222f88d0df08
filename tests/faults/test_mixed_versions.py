"""Two releases on one store, an upgrade and a downgrade, under load (ADR 12)."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from interface.outbound.sql import postgres_store, sqlite_store
from tests.faults.test_crashes import (
    CALLERS,
    USERS,
    Caller,
    assert_all_delivered,
    assert_every_answer_is_stored,
    command_ids,
    given_tickets,
)
from tests.support.command import Command, tickets
from tests.support.releases import RELEASES, program_of
from tests.support.schemas import migrate_to_next_release
from tests.support.server import Server, serving, until

pytestmark = pytest.mark.timeout(600)


class Fleet:
    """Callers that reset tickets at every server of a list in turn; the list may change meanwhile."""

    def __init__(self, servers: list[Server], resets: int) -> None:
        self.servers = servers
        self._resets = resets
        self.callers = [Caller(USERS[number % len(USERS)]) for number in range(CALLERS)]
        self._stopping = threading.Event()

    def call(self, caller: Caller) -> None:
        """Reset a ticket repeatedly; a request without an answer is sent to the next server, under its key."""
        with ExitStack() as opened:
            clients: dict[Server, httpx.Client] = {}
            for turn in itertools.count():
                if self._stopping.is_set():
                    return
                server = self.servers[turn % len(self.servers)]
                if server not in clients:
                    clients[server] = opened.enter_context(_client_of(server))
                try:
                    caller.reset(clients[server])
                except httpx.TransportError:
                    assert server not in self.servers, "a server that runs answers"

    def wait_for_resets(self) -> None:
        """Wait until a number of further resets are answered."""
        wanted = self._resets + self._answered()
        until(lambda: self._answered() >= wanted, "resets are answered")

    def _answered(self) -> int:
        return sum(len(caller.answered) for caller in self.callers)

    def replace(self, old: Server, new: Server) -> None:
        """Let a server join, and another one leave and stop."""
        self.servers.append(new)
        self.wait_for_resets()
        self.servers.remove(old)
        old.stop()
        self.wait_for_resets()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call until the end."""
        with ThreadPoolExecutor(CALLERS) as pool:
            ends = [pool.submit(self.call, caller) for caller in self.callers]
            try:
                yield
            finally:
                self._stopping.set()
                for end in ends:
                    end.result(60)


def _client_of(server: Server) -> httpx.Client:
    known = server.client
    return httpx.Client(base_url=known.base_url, headers=known.headers, timeout=30, trust_env=False)


def migrate(directory: Path, database_url: str, former: int) -> None:
    """Migrate with this program; if it has no new migration yet, as the next release could."""
    assert Command(directory, "migrate", TICKETS_DATABASE_URL=database_url).wait() == 0
    if schema_version(database_url) == former:
        migrate_to_next_release(database_url)


def schema_version(database_url: str) -> int:
    """Return the version without opening the store, which would migrate it."""
    path = database_url.removeprefix("sqlite:///")
    return (
        postgres_store.schema_version_at(path)
        if path == database_url
        else sqlite_store.schema_version_at(Path(path))
    )


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("store", "resets"),
    [
        pytest.param("postgres", 20, id="short"),
        pytest.param("postgres", 100, marks=pytest.mark.slow),
        pytest.param("sqlite", 100, marks=pytest.mark.slow),
    ],
)
def test_an_upgrade_and_a_downgrade_under_load_lose_nothing(
    store: str, resets: int, tmp_path: Path, release: str, request: pytest.FixtureRequest
) -> None:
    database_url: str = request.getfixturevalue(f"{store}_url")
    with program_of(RELEASES[release]) as program, ExitStack() as running:
        former = {"PYTHONPATH": str(program)}
        first = running.enter_context(serving(tmp_path, database_url, **former))
        given_tickets(first, USERS)
        fleet = Fleet([first], resets)
        with fleet.calling():
            fleet.wait_for_resets()
            migrate(tmp_path, database_url, schema_version(database_url))
            fleet.wait_for_resets()
            second = running.enter_context(serving(tmp_path, database_url))
            fleet.replace(first, second)
            third = running.enter_context(serving(tmp_path, database_url, **former))
            fleet.replace(second, third)
        assert_all_delivered(database_url, tmp_path, USERS)

    unanswered = assert_every_answer_is_stored(database_url, tmp_path, fleet.callers)
    assert not any(unanswered.values())
    assert len(command_ids(database_url)) == sum(len(caller.answered) for caller in fleet.callers)
    # Not a Command, which cannot have children: this many events are checked by several processes.
    checked = tickets(tmp_path, "replay", "--check", TICKETS_DATABASE_URL=database_url)
    assert checked.returncode == 0, checked.stderr
