"""The encoding of events and rows: JSON by msgspec, the same bytes in both stores."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from msgspec import UNSET

from application.record.streams import EVENTS
from domain.shared.event import Event, UnknownEvent

encode = msgspec.json.Encoder().encode


class JsonMapper(Mapper[UUID]):
    """Encodes an event as one JSON object of all its fields, and decodes it; unknown fields are ignored.

    A reason to which the event has a commitment is left out: table `details` contains it.

    Nothing needs upcasting, since the shapes of events only grow by fields with defaults.
    """

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Return the event in its stored form."""
        event = cast("Event", domain_event)
        return StoredEvent(
            originator_id=event.originator_id,
            originator_version=event.originator_version,
            topic=event.TOPIC,
            state=encode(event if event.details is UNSET else replace(event, reason=None)),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Return the decoded event. Raises msgspec.ValidationError if the bytes are not an event."""
        return decoded(stored_event.topic, stored_event.state)


def decoded(topic: str, state: bytes) -> Event:
    """Return the decoded event; an UnknownEvent if its type is of a later release.

    Raises ValueError (msgspec.ValidationError) if the bytes are not an event.
    """
    event: Event = _decoder(topic)(state)
    return event


@cache
def _decoder(topic: str) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(EVENTS.get(topic, UnknownEvent)).decode
