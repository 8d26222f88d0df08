"""Refusals and reads are recorded in the access log of a client that exists, and nothing else grows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from domain.shared.subject import Subject
from tests.support.evidence import open_store
from tests.support.web import BASE, TICKET, USER, Web, web_over

HISTORY = f"{BASE}/client-123/history"
_NO_USER_DATA = "it contains no data of users, and its changes are events"
_OWN_READ = "a reader would receive the entry of each read, and read again"
_PUBLIC = "it is public, so no caller is known"
UNRECORDED = {
    "getPolicy": _NO_USER_DATA,
    "listPolicies": _NO_USER_DATA,
    "getSubscription": _NO_USER_DATA,
    "listSubscriptions": _NO_USER_DATA,
    "getBulkJob": _NO_USER_DATA,
    "getStreams": _NO_USER_DATA,
    "getStreamStatus": _NO_USER_DATA,
    "getEvents": _OWN_READ,
    "streamEvents": _OWN_READ,
    "getTransmitter": _PUBLIC,
    "getKeys": _PUBLIC,
    "getLedgerKeys": _PUBLIC,
}


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


def reads_of(web: Web, actor: str) -> list[Any]:
    """Return the recorded reads of a caller, also those of this minute."""
    web.service.clock.advance(timedelta(minutes=1))
    web.client.get(HISTORY)  # the first access of a minute records the counted ones
    return [entry for entry in recorded(web) if (entry.actor, entry.outcome) == (actor, "read")]


def test_every_read_of_the_document_is_recorded_or_listed_with_a_reason(web: Web) -> None:
    web.given_a_ticket()
    reads = {
        operations["get"]["operationId"]: path
        for path, operations in web.client.get("/openapi.json").json()["paths"].items()
        if "get" in operations
    }
    jobs = f"{BASE}/client-123/bulk/resets"
    job = web.client.post(jobs, json={"userExtIds": ["user-123"]}).json()["job"]
    for operation in reads.keys() - UNRECORDED.keys():
        path = reads[operation].format(clientExtId="client-123", userExtId="user-123", job=job)
        assert web.client.get(path, headers=web.as_caller(subject="reader")).status_code == 200, operation
    web.client.get(TICKET, params={"atVersion": 1}, headers=web.as_caller(subject="reader"))

    entries = reads_of(web, "reader")

    assert {entry.operation for entry in entries} == reads.keys() - UNRECORDED.keys()
    assert UNRECORDED.keys() <= reads.keys()
    assert ("getTicket", ("atVersion",)) in {(entry.operation, entry.filters) for entry in entries}


def test_reads_of_current_data_are_recorded_as_a_set_without_a_commit_each(web: Web) -> None:
    for user in ("user-1", "user-2"):
        web.client.put(f"{BASE}/client-123/users/{user}", json={"email": "u@example.com"})
    reader = web.as_caller(subject="reader")
    before = web.service.store.size("client-123")
    for user in ("user-1", "user-2", "user-2"):
        web.client.get(f"{BASE}/client-123/users/{user}", headers=reader).raise_for_status()
    web.client.get(f"{BASE}/client-123/users/user-2/ticket/deliveries", headers=reader).raise_for_status()
    assert web.client.get(f"{BASE}/client-123/users/unknown", headers=reader).status_code == 404
    assert web.service.store.size("client-123") == before

    users, deliveries = reads_of(web, "reader")

    assert (users.operation, users.user_ext_id, users.users, users.count) == (
        *("getUser", "", ("user-1", "user-2")),
        3,
    )
    assert (deliveries.operation, deliveries.user_ext_id, deliveries.users, deliveries.count) == (
        *("getDeliveries", "user-2", UNSET),
        1,
    )
    found = web.client.get(HISTORY, params={"userExtId": "user-2", "type": "AccessNoted"}).json()["items"]
    assert found[0]["details"] == {"operation": "getDeliveries", "outcome": "read", "count": 1}


def test_a_list_is_recorded_with_the_users_in_it(web: Web) -> None:
    for user in ("user-1", "user-2"):
        web.client.put(f"{BASE}/client-123/users/{user}", json={"email": "u@example.com"})
        web.client.post(f"{BASE}/client-123/users/{user}/ticket").raise_for_status()
    reader = web.as_caller(subject="reader")
    for path in ("users", "tickets"):
        web.client.get(f"{BASE}/client-123/{path}", headers=reader).raise_for_status()

    assert {entry.operation: entry.users for entry in reads_of(web, "reader")} == {
        "listUsers": ("user-1", "user-2"),
        "findTickets": ("user-1", "user-2"),
    }


def test_a_flood_keeps_its_users_up_to_the_limit_and_then_the_count(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.record.access_log.MAX_USERS_OF_A_CALLER", 2)
    for number in range(4):
        web.client.put(f"{BASE}/client-123/users/user-{number}", json={"email": "u@example.com"})
        web.client.get(f"{BASE}/client-123/users/user-{number}", headers=web.as_caller(subject="reader"))

    [entry] = reads_of(web, "reader")

    assert (entry.user_ext_id, entry.users, entry.count) == ("", ("user-0", "user-1"), 4)


def searches_of(web: Web, actor: str) -> list[Any]:
    """Return the recorded searches of a caller, as the history shows them."""
    web.service.clock.advance(timedelta(minutes=1))
    web.client.get(HISTORY)  # the first access of a minute records the counted ones
    items = web.client.get(HISTORY, params={"type": "AccessNoted", "actor": actor}).json()["items"]
    return [item for item in items if item["details"]["operation"] == "searchHistory"]


def test_the_values_of_filters_are_shown_until_the_user_is_erased_and_never_in_an_event(web: Web) -> None:
    web.given_a_ticket()
    filters: dict[str, str | int] = {"actor": "dr.who@example.com", "userExtId": "user-123", "limit": 1}

    web.client.get(HISTORY, params=filters, headers=web.as_caller(subject="reader"))

    [item] = searches_of(web, "reader")
    assert (item["userExtId"], item["details"]["filters"]) == ("user-123", ["actor", "userExtId"])
    assert item["reason"] == "actor=dr.who%40example.com&userExtId=user-123"
    stored = web.service.store.entries("client-123", 0, 100)
    assert not any(b"dr.who" in entry.state for entry in stored)
    assert web.client.delete(USER).status_code == 204
    [item] = searches_of(web, "reader")
    assert (item["reason"], item["reasonErased"]) == (None, True)
    assert "dr.who" not in str(web.service.store._fetch("SELECT reason FROM details", ()))


def test_counted_searches_keep_their_values_up_to_the_limit(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.record.access_log.MAX_INDIVIDUAL_ENTRIES", 1)
    monkeypatch.setattr("application.record.access_log.MAX_COUNTED_SEARCHES", 2)
    web.given_a_ticket()
    for name in ("anna", "bruno", "anna", "carla", "dora"):
        web.client.get(HISTORY, params={"actor": name}, headers=web.as_caller(subject="reader"))

    first, counted = searches_of(web, "reader")

    assert (first["reason"], first["details"]["count"]) == ("actor=anna", 1)
    assert (counted["reason"], counted["details"]["count"]) == ("actor=anna\nactor=bruno", 4)
