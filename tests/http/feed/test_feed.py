"""The feed over HTTP, on both stores."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import psycopg
import pytest

from application.feed.feed import TYPES, Batch, FeedQuery, read_feed
from application.feed.formats import CLOUD_EVENTS
from tests.support.evidence import open_store
from tests.support.web import BASE, PUBLIC_URL, RESET, TICKET, USER, Web, web_over

FEED = f"{BASE}/client-123/events"


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def events(web: Web, **query: Any) -> list[Any]:
    answer = web.client.get(FEED, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/cloudevents-batch+json"
    found: list[Any] = answer.json()
    return found


def given_resets(web: Web, count: int) -> None:
    web.given_a_ticket()
    for _ in range(count):
        assert web.client.post(RESET).status_code == 200


def test_an_event_has_type_actor_reason_and_request_and_no_hash(web: Web) -> None:
    web.given_a_ticket()
    web.service.clock.advance(timedelta(microseconds=123))
    reset = web.client.post(
        RESET, json={"modificationComment": "lost letter"}, headers=web.as_caller(subject="anna")
    )

    assert events(web, after=2) == [
        {
            "specversion": "1.0",
            "id": "3",
            "source": "tickets/client-123",
            "type": "TicketRegenerated",
            "time": "2026-11-23T09:42:00.000123Z",
            "datacontenttype": "application/json",
            "dataschema": f"{PUBLIC_URL}/schemas/events/TicketRegenerated.json",
            "sequence": "0000000000000000003",
            "traceparent": reset.headers["traceparent"],
            "subject": "user-123",
            "data": {
                "userExtId": "user-123",
                "version": 2,
                "actor": "anna",
                "reason": "lost letter",
                "changed": {
                    "validity.from": "2026-11-23T09:42:00Z",
                    "validity.to": "2026-11-28T09:42:00Z",
                    "resetCount": 1,
                    "stateName": "active",
                },
                "aggregate": "TicketCredential",
                "aggregateId": web.client.get(TICKET).json()["extId"],
                "ticketExtId": web.client.get(TICKET).json()["extId"],
            },
            "previous": "2",
        }
    ]


def test_each_event_matches_the_schema_that_it_names(web: Web) -> None:
    given_everything(web)

    for event in events(web):
        path = event["dataschema"].removeprefix(PUBLIC_URL)
        answer = web.client.get(path, headers={"Authorization": ""})
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json()["$id"] == event["dataschema"]
        jsonschema_rs.validator_for(answer.json()).validate(event["data"])


def test_an_unknown_type_has_no_schema(web: Web) -> None:
    assert web.client.get("/schemas/events/Unknown.json").status_code == 404


def given_everything(web: Web) -> None:
    """Make events of every type that the edge can cause."""
    for policy in ("strict", "other"):
        answer = web.client.put(f"{BASE}/client-123/policies/{policy}", json={"defaultPolicy": True})
        assert answer.status_code == 201
    web.given_a_ticket()
    web.client.post(f"{TICKET}/verify", json={"ticket": "wrong"})
    web.client.post(f"{TICKET}/verify", json={"ticket": web.service.newest().reveal()})
    web.client.patch(TICKET, json={"stateName": "disabled", "modificationComment": "on leave"})
    web.client.post(RESET)  # refused, and recorded
    web.client.patch(TICKET, json={"stateName": "active", "policyExtId": "strict"})
    web.service.clock.advance(timedelta(hours=1))
    web.client.post(RESET)
    web.client.patch(
        TICKET, json={"validity": {"from": "2026-11-24T00:00:00Z", "to": "2026-11-30T00:00:00Z"}}
    )
    web.client.put(USER, json={"email": "user-123@example.com", "postalAddress": ["Lane 1"]})


def test_the_feed_alone_determines_the_state_of_the_ticket(web: Web) -> None:
    given_everything(web)

    seen: dict[str, Any] = {}
    for event in events(web):
        if event["type"].startswith("Ticket") or event["type"] == "WrongTicketPresented":
            seen |= event["data"]["changed"]

    ticket = web.client.get(TICKET).json()
    for name in ("extId", "policyExtId", "stateName", "resetCount"):
        assert seen[name] == ticket[name], name
    assert (seen["validity.from"], seen["validity.to"]) == tuple(ticket["validity"].values())


def test_no_secret_and_no_personal_data_is_in_the_feed(web: Web) -> None:
    given_everything(web)

    reported = json.dumps(events(web))

    assert "user-123@example.com" not in reported
    assert "{SSHA" not in reported
    assert "{ARGON" not in reported
    for _, ticket in web.service.sealer.sealed:
        assert ticket.reveal() not in reported


def test_the_events_of_a_user_name_the_changed_fields_and_no_value(web: Web) -> None:
    given_everything(web)
    web.client.delete(USER)

    found = [event for event in events(web) if event["type"].startswith("User")]

    assert [(event["type"], event["subject"], event["data"]["changed"]) for event in found] == [
        ("UserRegistered", "user-123", {"fields": ["email"]}),
        ("UserChanged", "user-123", {"fields": ["postalAddress"]}),
        ("UserErased", "user-123", {"fields": ["email", "postalAddress"]}),
    ]
    assert "Lane" not in json.dumps(events(web))


def test_a_new_type_is_in_the_feed_without_its_fields_until_they_are_listed() -> None:
    """Published fields are listed by name, so that a new one, such as a hash, is not published by mistake."""
    assert len(TYPES) == len(set(TYPES)) == 36


def test_positions_are_dense_and_each_event_names_the_preceding_one(web: Web) -> None:
    given_resets(web, 8)

    pages, after = [], 0
    while page := events(web, after=after, limit=4):
        pages.append(page)
        after = int(page[-1]["id"])

    ids = [int(event["id"]) for page in pages for event in page]
    assert ids == list(range(1, 11))
    assert [int(event["previous"]) for page in pages for event in page] == list(range(10))
    assert [len(page) for page in pages] == [4, 4, 2]


def test_a_filtered_feed_names_its_preceding_event_also_across_pages(web: Web) -> None:
    given_everything(web)
    for _ in range(3):
        web.client.post(RESET)
    every = [event for event in events(web) if event["type"] in ("TicketRegenerated", "PolicyDefined")]

    found, after = [], 0
    while page := events(web, after=after, limit=2, types="TicketRegenerated,PolicyDefined"):
        found += page
        after = int(page[-1]["id"])

    assert [event["id"] for event in found] == [event["id"] for event in every]
    assert [event["previous"] for event in found] == ["0", *(event["id"] for event in found[:-1])]


def test_empty_types_are_accepted_and_an_unknown_one_is_400(web: Web) -> None:
    for types in ("", "Nonsense", "TicketCreated,", "TicketCreated, TicketDeleted"):
        assert web.client.get(FEED, params={"types": types}).status_code == 400, types


@pytest.mark.parametrize(
    "query",
    [{"after": "-1"}, {"after": "01"}, {"after": "x"}, {"wait": "61"}, {"wait": "1.5"}, {"limit": "0"}],
)
# Refused before the store is asked.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_bad_input_is_400(web: Web, query: dict[str, str]) -> None:
    assert web.client.get(FEED, params=query).status_code == 400


def test_beyond_the_end_is_404_since_the_ledger_must_have_been_restored(web: Web) -> None:
    given_resets(web, 1)

    assert events(web, after=3) == []
    answer = web.client.get(FEED, params={"after": 4})
    assert answer.status_code == 404
    assert "ends at position 3" in answer.json()["detail"]


def test_a_client_without_events_has_an_empty_feed(web: Web) -> None:
    assert web.client.get(f"{BASE}/unknown/events").json() == []


def test_the_permission_and_the_client_are_required(web: Web) -> None:
    for caller in ({"permissions": ["AccessControl.HistoryView"]}, {"clients": ["client-9"]}):
        for path in (FEED, f"{FEED}/stream"):
            assert web.client.get(path, headers=web.as_caller(**caller)).status_code == 403


def test_a_stream_with_a_bad_last_event_id_is_400(web: Web) -> None:
    for given in ("x", "-1", "1.0", "1" * 19):
        answer = web.client.get(f"{FEED}/stream", headers={"Last-Event-ID": given})
        assert answer.status_code == 400, given
    assert web.client.get(f"{FEED}/stream", headers={"Last-Event-ID": "7"}).status_code == 404


def test_a_long_poll_returns_the_next_event(web: Web) -> None:
    given_resets(web, 1)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.extend(events(web, after=3, wait=30)))
    waiting.start()

    web.client.post(RESET)
    waiting.join(10)

    assert [event["id"] for event in found] == ["4"]


def test_a_long_poll_with_types_ignores_other_events(web: Web) -> None:
    given_resets(web, 1)
    found: list[Any] = []
    waiting = threading.Thread(
        target=lambda: found.extend(events(web, after=3, wait=30, types="TicketDeleted"))
    )
    waiting.start()

    web.client.post(RESET)
    web.client.delete(TICKET)
    waiting.join(10)

    assert [(event["id"], event["type"], event["previous"]) for event in found] == [
        ("5", "TicketDeleted", "0")
    ]


def test_a_long_poll_without_events_is_empty(web: Web) -> None:
    given_resets(web, 0)

    assert events(web, after=2, wait=1) == []


def test_each_client_has_a_separate_feed(web: Web) -> None:
    given_resets(web, 2)
    other = USER.replace("client-123", "client-9")
    web.client.put(other, json={"email": "x@example.com"})
    web.client.post(f"{other}/ticket")

    (event, _) = web.client.get(f"{BASE}/client-9/events").json()

    assert (event["id"], event["source"]) == ("1", "tickets/client-9")


def test_a_removed_event_is_visible_in_a_page(web: Web, database_url: str) -> None:
    """A lost event is visible: the next event does not name the last one received."""
    given_resets(web, 2)
    if database_url.startswith("sqlite"):
        web.service.store._run("DELETE FROM ledger WHERE position = ?", [(2,)])
    else:
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM ledger WHERE position = 2")

    found = [(event["previous"], event["id"]) for event in events(web)]

    assert found == [("0", "1"), ("2", "3"), ("3", "4")]


def test_the_cloudevents_library_reads_the_events(web: Web) -> None:
    given_resets(web, 1)
    store: Any = web.service.store

    query = FeedQuery("client-123")
    found = read_feed(query, 10, ledger=store, origin="tickets", public_url=PUBLIC_URL)

    assert json.loads(CLOUD_EVENTS.encode_page(query, Batch(0, found, 0))) == events(web)
