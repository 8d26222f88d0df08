"""Times as input: a displayed time finds the event that it was displayed for, and every date of the calendar is a date."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.evidence import open_store
from tests.support.web import BASE, RESET, TICKET, Web, web_over

SEARCH = f"{BASE}/client-123/history"
FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def displayed(web: Web) -> list[tuple[int, str]]:
    return [(item["version"], item["time"]) for item in web.client.get(f"{TICKET}/history").json()["items"]]


def version_at(web: Web, moment: str) -> Any:
    return web.client.get(TICKET, params={"at": moment}).json()["version"]


def test_a_displayed_time_selects_the_state_after_its_event(web: Web) -> None:
    web.given_a_user()
    web.service.clock.advance(timedelta(microseconds=800_000))
    web.client.post(TICKET)
    for _ in range(3):
        web.service.clock.advance(timedelta(seconds=1.1))
        web.client.post(RESET)

    for version, time in displayed(web):
        assert version_at(web, time) == version
    assert displayed(web)[-1][0] == 4


def test_a_second_with_several_events_selects_the_last_of_them_and_a_fraction_selects_exactly(
    web: Web,
) -> None:
    web.given_a_ticket()
    for _ in range(2):
        web.service.clock.advance(timedelta(microseconds=400_000))
        web.client.post(RESET)

    assert {time for _, time in displayed(web)} == {"2026-11-23T09:42:00Z"}
    assert version_at(web, "2026-11-23T09:42:00Z") == 3
    assert version_at(web, "2026-11-23T09:42:00.1Z") == 1
    assert version_at(web, "2026-11-23T09:42:00.4Z") == 2


def test_a_displayed_time_is_found_although_the_clock_was_ahead(web: Web) -> None:
    web.given_a_user()
    web.service.clock.advance(timedelta(hours=1))
    web.client.post(TICKET)
    web.service.clock.advance(timedelta(minutes=-30))
    web.client.post(RESET)
    web.service.clock.advance(timedelta(minutes=-25))
    web.client.post(RESET)

    [(_, ahead), (_, second), (_, third)] = displayed(web)

    assert ahead > second > third
    assert version_at(web, third) == version_at(web, second) == version_at(web, ahead) == 3


def test_the_second_of_a_lock_shows_the_lock(web: Web) -> None:
    web.given_a_ticket()
    web.service.clock.advance(timedelta(microseconds=700_000))
    for _ in range(2):
        web.client.post(f"{TICKET}/verify", json={"ticket": "wrong"})
    web.service.clock.advance(timedelta(hours=1))

    then = web.client.get(TICKET, params={"at": displayed(web)[-1][1]}).json()

    assert (then["version"], then["stateName"]) == (3, "tmp-locked")


@pytest.mark.parametrize(
    ("path", "query", "sentence"),
    [
        (TICKET, {"at": FIRST, "atVersion": "1"}, "at and atVersion exclude each other: give one of them."),
        (SEARCH, {"from": LAST, "to": FIRST}, "from must not be after to."),
        (SEARCH, {"type": "TicketReborn"}, "type: unknown event type 'TicketReborn'; expected one of Acc"),
        (f"{BASE}/client-123/events", {"types": "TicketReborn"}, "types: unknown event type 'TicketReborn'"),
        (f"{BASE}/client-123/events/stream", {"types": "TicketReborn"}, "types: unknown event type"),
    ],
)
# Refused before the store is asked.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_contradictory_query_is_refused_by_a_sentence(
    web: Web, path: str, query: dict[str, str], sentence: str
) -> None:
    answer = web.client.get(path, params=query)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(sentence)


def test_the_first_and_the_last_second_of_the_calendar_are_dates(web: Web) -> None:
    web.given_a_ticket(validity={"from": FIRST, "to": LAST})

    assert web.client.get(TICKET).json()["validity"] == {"from": FIRST, "to": LAST}
    assert [web.client.get(TICKET, params={"at": at}).status_code for at in (FIRST, LAST)] == [404, 404]
    for query, found in (({"expiresBefore": LAST}, 0), ({"lastModifiedAfter": FIRST}, 1)):
        assert len(web.client.get(f"{BASE}/client-123/tickets", params=query).json()["items"]) == found


def test_a_validity_in_the_first_year_is_shown_with_four_digits(web: Web) -> None:
    web.given_a_user()

    answer = web.client.post(TICKET, json={"validity": {"from": LAST, "to": FIRST}})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == f"The validity ends at {FIRST}, not after its start."
