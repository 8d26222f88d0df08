"""Stored bytes of every event ever released load for ever (ADR 4).

Lines are added to golden_events.jsonl, never changed: topic, a tab, the bytes as a store keeps them.
"""

from pathlib import Path

import pytest
from eventsourcing.persistence import StoredEvent

from application.record.streams import EVENTS, origin_of
from domain.tickets.ticket_credential import stream_id
from interface.outbound.sql.codec import JsonMapper, decoded

GOLDEN = [
    line.split("\t") for line in Path(__file__).with_name("golden_events.jsonl").read_text().splitlines()
]
STREAM = stream_id("client-123", "user-123")


@pytest.mark.parametrize(("topic", "state"), GOLDEN)
def test_a_stored_event_loads_and_is_stored_as_the_same_bytes(topic: str, state: str) -> None:
    mapper = JsonMapper()

    event = mapper.to_domain_event(StoredEvent(STREAM, 1, topic, state.encode()))

    assert mapper.to_stored_event(event).topic == topic
    assert mapper.to_stored_event(event).state == state.encode()


@pytest.mark.parametrize(("topic", "state"), GOLDEN)
def test_the_id_of_a_stream_follows_from_the_names_in_it(topic: str, state: str) -> None:
    event = decoded(topic, state.encode())
    origin = origin_of(event)

    assert origin is None or origin.stream == event.originator_id


def test_every_event_has_a_golden_line() -> None:
    assert set(EVENTS) == {topic for topic, _ in GOLDEN}


def test_a_field_from_a_newer_version_is_passed_over() -> None:
    topic, state = GOLDEN[0]
    newer = state.replace("{", '{"from_the_future":1,', 1).encode()

    event = JsonMapper().to_domain_event(StoredEvent(STREAM, 1, topic, newer))

    assert JsonMapper().to_stored_event(event).state == state.encode()
