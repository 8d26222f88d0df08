"""Refusals and reads are recorded in the access log of a client that exists, and nothing else grows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.shared.subject import Subject
from tests.support.evidence import open_store
from tests.support.web import BASE, USER, Web, web_over


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def recorded(web: Web, client: str = "client-123") -> list[Any]:
    """Return the details of every entry of a client's access log."""
    entries = web.service.store.entries_of_topics(client, ["AccessNoted"], 0, 10_000)
    return [web.service.store.event(entry) for entry in entries]


def test_a_refusal_makes_no_ledger_of_a_client_that_does_not_exist(web: Web) -> None:
    stranger = web.as_caller(subject="stranger", clients=["other"], permissions=[])

    answer = web.client.get(f"{BASE}/ghost-1/users/x/ticket", headers=stranger)

    assert answer.status_code == 403
    assert (web.service.store.clients(), web.service.store.sizes()) == ([], [])
    assert web.service.store.newest_checkpoint("ghost-1") is None
    assert [(access.subject, reason) for access, reason in web.unrecorded] == [
        (Subject("ghost-1", "x"), "unknown-client")
    ]


def test_a_read_makes_no_ledger_of_a_client_that_does_not_exist(web: Web) -> None:
    assert web.client.get(f"{BASE}/ghost-1/history").json()["items"] == []
    assert web.client.get(f"{BASE}/ghost-1/users/x/ticket/history").status_code == 404
    assert web.client.get(f"{BASE}/ghost-1/users/x/ticket/evidence").status_code == 404

    assert web.service.store.clients() == []


def test_a_refusal_is_recorded_in_a_client_that_has_only_a_user(web: Web) -> None:
    web.given_a_user()

    web.client.get(USER, headers=web.as_caller(subject="stranger", permissions=[]))

    [access] = [access for access in recorded(web) if access.actor == "stranger"]
    assert (access.user_ext_id, access.operation) == ("user-123", "getUser")
    assert access.outcome == "errors.permissionDenied"


def test_the_refusals_of_a_caller_are_bounded_over_all_clients(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.record.access_log.MAX_REFUSALS_OF_A_CALLER", 4)
    stranger = web.as_caller(subject="stranger", clients=[], permissions=[])
    clients = [f"client-{number}" for number in range(6)]
    for client in clients:
        web.client.put(f"{BASE}/{client}/users/u", json={"email": "u@example.com"})

    for client in clients:
        for _ in range(3):
            assert web.client.get(f"{BASE}/{client}/users/u", headers=stranger).status_code == 403
    web.client.get(f"{BASE}/client-5/users/u", headers=web.as_caller(subject="other", permissions=[]))
    web.service.clock.advance(timedelta(minutes=1))
    web.client.get(f"{BASE}/client-5/history")

    noted = {
        client: [entry.count for entry in recorded(web, client) if entry.actor == "stranger"]
        for client in clients
    }
    assert noted == {
        "client-0": [1, 1, 1],
        "client-1": [1, 2],
        "client-2": [3],
        "client-3": [3],
        "client-4": [],
        "client-5": [],
    }
    assert {(access.subject.client_ext_id, reason) for access, reason in web.unrecorded} == {
        ("client-4", "flood"),
        ("client-5", "flood"),
    }
    assert [entry.actor for entry in recorded(web, "client-5")] == ["other", "helpdesk"]
