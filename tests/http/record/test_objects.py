"""Every event names the object that it changed: in the feed, the history, the search and the exports (both stores)."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from application.delivery.outbox import DeliveryKey
from application.delivery.record_delivery import RecordDelivery
from domain.delivery.ticket_delivery import Obsolete
from domain.tickets.events import stream_id
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.service import command
from tests.support.web import BASE, RESET, TICKET, Web, web_over

CLIENT = f"{BASE}/client-123"
STREAM = stream_id("client-123", "user-123")
OF_FIRST = ("TicketCredential", "first", "first")
OF_SECOND = ("TicketCredential", "second", "second")


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def given_a_life(web: Web) -> list[tuple[str, str, str | None]]:
    """Make events of every kind of object, and return their objects."""
    web.client.put(f"{CLIENT}/policies/letters", json={"defaultPolicy": True})
    web.client.put(f"{CLIENT}/policies/mails", json={"defaultPolicy": True})  # withdraws the former default
    web.given_a_ticket(extId="first")
    web.client.post(RESET)
    web.client.delete(TICKET)
    web.client.post(TICKET, json={"extId": "second"})
    web.client.post(RESET)
    web.client.put(f"{CLIENT}/subscriptions/siem", json={"url": "https://siem.example"})
    web.client.delete(f"{CLIENT}/subscriptions/siem")
    web.client.get(f"{TICKET}/history")
    policies = [("PolicyDefinition", name, None) for name in ("letters", "mails", "letters")]
    subscription = [("Subscription", "siem", None)] * 2
    access = [("AccessLog", "client-123", None)]
    user = [("User", "user-123", None)]
    return [*policies, *user, *[OF_FIRST] * 3, *[OF_SECOND] * 2, *subscription, *access]


def object_of(item: dict[str, Any]) -> tuple[Any, Any, Any]:
    return item["aggregate"], item["aggregateId"], item["ticketExtId"]


def test_every_event_names_its_object(web: Web) -> None:
    expected = sorted(given_a_life(web), key=str)

    feed = [event["data"] for event in web.client.get(f"{CLIENT}/events").json()]
    log = web.client.get(f"{CLIENT}/history").json()["items"]
    history = web.client.get(f"{TICKET}/history").json()["items"]

    assert sorted(map(object_of, feed), key=str) == expected
    # The search is recorded before it reads.
    assert sorted(map(object_of, log), key=str) == sorted(
        [*expected, ("AccessLog", "client-123", None)], key=str
    )
    assert [object_of(item) for item in history] == [*[OF_FIRST] * 3, *[OF_SECOND] * 2]
    assert [item["version"] for item in log if item["aggregate"] == "Subscription"] == [1, 2]


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_the_object_does_not_depend_on_the_page(web: Web, after: int) -> None:
    given_a_life(web)
    [*complete] = web.client.get(f"{CLIENT}/events").json()

    [event] = web.client.get(f"{CLIENT}/events", params={"after": after, "limit": 1}).json()

    assert event["data"] == complete[after]["data"]


def test_a_delivery_has_its_own_version_and_names_the_ticket_that_it_delivers(web: Web) -> None:
    given_a_life(web)
    for version in (2, 4):  # minted before and after the ticket was created again
        key = DeliveryKey("client-123", STREAM, version)
        web.service.execute(command(RecordDelivery, delivery_key=key, why=Obsolete.REPLACED))

    found = [event["data"] for event in web.client.get(f"{CLIENT}/events").json()][-2:]

    assert [(*object_of(data), data["version"]) for data in found] == [
        ("TicketDelivery", f"{STREAM}-2", "first", 1),
        ("TicketDelivery", f"{STREAM}-4", "second", 1),
    ]


def test_an_export_has_the_objects_in_additional_columns(web: Web, database_url: str, tmp_path: Path) -> None:
    expected = given_a_life(web)

    exported = tickets(tmp_path, "audit", "export", "client-123", "--csv", TICKETS_DATABASE_URL=database_url)

    header, *rows = csv.reader(exported.stdout.splitlines())
    assert header[-4:] == ["details", "aggregate", "aggregateId", "ticketExtId"]
    found = [(kind, name, ticket or None) for *_, kind, name, ticket in rows]
    assert sorted(found[:-1], key=str) == sorted(expected, key=str), exported.stderr
