"""docs/read_model.py builds the responses of GET from the feed alone."""

import random
import runpy
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from application.tickets.expire_tickets import NoteExpiry
from domain.shared.errors import Refusal
from domain.shared.subject import Subject
from tests.support.evidence import open_store
from tests.support.server import ROOT
from tests.support.service import command
from tests.support.web import BASE, Web, web_over

CLIENT = f"{BASE}/client-123"
USERS = ("anna", "bruno", "carla")
TYPES = {"TicketCreated", "TicketRegenerated", "TicketStateChanged", "TicketDeleted", "WrongTicketPresented"}
IMPORTED = {
    "extId": "t-anna",
    "userExtId": "anna",
    "stateName": "tmp-locked",
    "stateChangeReason": "too-many-login-failures",
    "ticket": "{SSHA256}" + "A" * 64,
    "validity": {"from": "2026-11-01T00:00:00Z", "to": "2027-11-01T00:00:00Z"},
    "created": "2025-11-01T00:00:00Z",
    "lastSuccessfulLoginDate": "2026-11-02T00:00:00Z",
    "successfulLoginCount": 1,
    "lastFailedLoginDate": "2026-11-03T00:00:00Z",
    "failedLoginCount": 2,
    "failureCount": 9,
    "successCount": 4,
    "resetCount": 3,
    "lockedUntil": "2026-11-24T00:00:00Z",
    "modificationComment": "moved",
}


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        # Between two seconds, since the feed rounds the end of a lock down.
        web.service.clock.advance(timedelta(microseconds=500_000))
        for policy, terms in (("slow", {"hashAlgorithm": "ARGON2ID", "reusable": True}), ("default", {})):
            body = {"defaultPolicy": policy == "default", "parameters": terms}
            assert web.client.put(f"{CLIENT}/policies/{policy}", json=body).status_code == 201
        yield web
    store.close()


def act(web: Web, chance: random.Random, tickets: dict[str, str]) -> None:
    """Do one random operation of a random user; it may be refused."""
    user, clock = chance.choice(USERS), web.service.clock
    path = f"{CLIENT}/users/{user}/ticket"
    comment = chance.choice(({}, {"modificationComment": chance.choice(("lost letter", "asked", "moved"))}))
    operation = chance.choice(
        ("create", "reset", "verify", "verify", "wrong", "wrong", "wrong", "patch", "patch", "delete", "time")
    )
    if operation in ("create", "reset"):
        web.client.put(f"{CLIENT}/users/{user}", json={"email": f"{user}@example.com"})
        answer = web.client.post(path if operation == "create" else f"{path}/reset", json=comment)
        if answer.is_success:
            tickets[user] = web.service.newest().reveal()
    elif operation in ("verify", "wrong"):
        presented = tickets.get(user, "wrong") if operation == "verify" else "wrong"
        web.client.post(f"{path}/verify", json={"ticket": presented})
    elif operation == "patch":
        end = (clock.now + timedelta(days=chance.randrange(1, 9))).strftime("%Y-%m-%dT%H:%M:%SZ")
        changes: tuple[dict[str, Any], ...] = (
            {"stateName": "active"},
            {"stateName": chance.choice(("disabled", "archived"))},
            {"policyExtId": chance.choice(("slow", "default"))},
            {"validity": {"to": end}},
            {},
        )
        web.client.patch(path, json=chance.choice(changes) | comment)
    elif operation == "delete" and chance.random() < 0.4:
        web.client.delete(chance.choice((path, f"{CLIENT}/users/{user}")))
    else:
        clock.advance(timedelta(seconds=chance.choice((1, 30, 90, 200_000))))
        with suppress(Refusal):
            web.service.execute(command(NoteExpiry, subject=Subject("client-123", user)))


def test_a_read_model_of_the_feed_alone_equals_every_get(web: Web, chance: random.Random) -> None:
    model = runpy.run_path(str(ROOT / "docs" / "read_model.py"))
    known: dict[str, Any] = {}
    tickets: dict[str, str] = {}
    seen: set[str] = set()
    after = "0"
    web.client.put(f"{CLIENT}/users/anna", json={"email": "anna@example.com"})
    rows = {"source": "old", "items": [IMPORTED]}
    assert web.client.post(f"{CLIENT}/import", json=rows).json()["counts"] == {"created": 1}
    for _ in range(25):
        for _ in range(12):
            act(web, chance, tickets)
        for event in web.client.get(f"{CLIENT}/events", params={"after": after, "limit": 1000}).json():
            assert event["previous"] == after
            model["apply"](known, event)
            seen.add(event["type"])
            after = event["id"]
        for user in USERS:
            answer = web.client.get(f"{CLIENT}/users/{user}/ticket")
            if answer.status_code == 404:
                assert user not in known
                continue
            expected = {name: value for name, value in answer.json().items() if name != "ticket"}
            assert (
                model["shown"](known[user], web.service.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")) == expected
            )
    assert seen >= TYPES
