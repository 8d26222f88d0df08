"""Every event of every release can be loaded by every later release (ADR 4).

Lines of golden_events.jsonl are added, never changed: topic, a tab, the stored bytes. A new field with a default needs no line.
"""

from pathlib import Path

import pytest
from eventsourcing.persistence import StoredEvent

from application.record.streams import EVENTS
from domain.tickets.events import stream_id
from interface.outbound.sql.codec import JsonMapper, decoded
from tests.support.shapes import has_grown_from

GOLDEN = [
    line.split("\t") for line in Path(__file__).with_name("golden_events.jsonl").read_text().splitlines()
]
STREAM = stream_id("client-123", "user-123")


@pytest.mark.parametrize(("topic", "state"), GOLDEN)
def test_a_stored_event_keeps_its_fields(topic: str, state: str) -> None:
    mapper = JsonMapper()

    event = mapper.to_domain_event(StoredEvent(STREAM, 1, topic, state.encode()))

    assert mapper.to_stored_event(event).topic == topic
    assert has_grown_from(mapper.to_stored_event(event).state, state.encode())


@pytest.mark.parametrize(("topic", "state"), GOLDEN)
def test_the_stream_id_is_derived_from_the_ids_in_the_event(topic: str, state: str) -> None:
    event = decoded(topic, state.encode())

    assert event.origin is None or event.origin.stream == event.originator_id


def test_every_event_has_a_golden_line() -> None:
    assert set(EVENTS) == {topic for topic, _ in GOLDEN}


def test_unknown_fields_are_ignored() -> None:
    topic, state = GOLDEN[0]
    newer = state.replace("{", '{"from_the_future":1,', 1).encode()

    event = JsonMapper().to_domain_event(StoredEvent(STREAM, 1, topic, newer))

    assert has_grown_from(JsonMapper().to_stored_event(event).state, state.encode())
