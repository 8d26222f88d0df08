"""A process shows an event that a later release stored without its details (ADR 12, rule 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from application.record.replay import check_streams, stream_ranges
from application.tickets.records import TICKETS
from application.transaction.records import Changes
from domain.tickets.events import TicketEvent
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.stores import state_of
from tests.support.web import BASE, RESET, TICKET, Web, web_over


@dataclass(frozen=True, kw_only=True)
class TicketPrinted(TicketEvent):
    """An event that this release does not have."""

    TOPIC = "TicketPrinted"
    printer: str


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        web.given_a_ticket()
        row = state_of(store, SUBJECT)
        event = TicketPrinted(
            originator_id=row.stream,
            originator_version=2,
            timestamp=NOW,
            actor="printer",
            reason=None,
            correlation_id="",
            command_id="2",
            request_digest="",
            printer="hall",
        )
        changes = Changes(events=[event], subjects=[SUBJECT])
        changes.put(TICKETS, SUBJECT, row, replace(row, version=2))
        store.commit(changes)
        yield web
    store.close()


def get(web: Web, path: str) -> Any:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_feed_history_and_search_show_it_without_its_details(web: Web) -> None:
    feed = get(web, f"{BASE}/client-123/events")
    history = get(web, f"{TICKET}/history")["items"]
    search = get(web, f"{BASE}/client-123/history")["items"]

    assert [event["type"] for event in feed] == ["UserRegistered", "TicketCreated", "TicketPrinted"]
    assert feed[2]["data"]["changed"] == {}
    assert [(item["type"], item["changes"]) for item in history[1:]] == [("TicketPrinted", [])]
    assert [(item["type"], item["details"]) for item in search if item["position"] == 3] == [
        ("TicketPrinted", {})
    ]


def test_commands_continue_after_it(web: Web) -> None:
    assert web.client.post(RESET).json()["version"] == 3
    assert get(web, TICKET)["version"] == 3
    assert [item["version"] for item in get(web, f"{TICKET}/history")["items"]] == [1, 2, 3]


@pytest.mark.usefixtures("web")
def test_the_check_reports_that_it_cannot_check_the_stream(database_url: str) -> None:
    store = open_store(database_url)
    [(begin, end)] = stream_ranges(1)
    findings = check_streams("client-123", begin, end, ledger=store)
    store.close()

    [fault] = findings.faults
    assert fault.endswith(
        "version 2: event type 'TicketPrinted' is unknown: check with the release that stored it"
    )
