"""How events and rows are written: JSON by msgspec, the same bytes in every store."""

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from eventsourcing.utils import get_topic

from application.record.streams import EVENTS
from domain.shared.event import Event, UnknownEvent

encode = msgspec.json.Encoder().encode


class JsonMapper(Mapper[UUID]):
    """Writes an event as one JSON object of all its fields, and reads it back; fields unknown here are ignored.

    The stored shape is the event's own; there is nothing to upcast, since shapes only grow by fields with defaults.
    """

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Return the event as it is stored."""
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=get_topic(type(domain_event)),
            state=encode(domain_event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Return the event behind the stored bytes. Raises msgspec.ValidationError where they are not one."""
        return decoded(stored_event.topic, stored_event.state)


def decoded(topic: str, state: bytes) -> Event:
    """Return the event behind stored bytes; an UnknownEvent where its type is of a later release.

    Raises ValueError (msgspec.ValidationError) where the bytes are not an event.
    """
    event: Event = _decoder(topic)(state)
    return event


@cache
def _decoder(topic: str) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(EVENTS.get(topic, UnknownEvent)).decode
