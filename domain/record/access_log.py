"""The access log of a client: who was refused what, and who read whose history."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from eventsourcing.domain import BaseAggregate, CanInitAggregate

from domain.shared.attribution import Attribution
from domain.shared.event import Event as _Event

_STREAMS = UUID("5b1c8f2e-6f0d-5a39-9b7e-0d7c1a3f4e62")


def access_stream_id(client_ext_id: str) -> UUID:
    """Return the id of the client's access log, one stream per client."""
    return uuid5(_STREAMS, client_ext_id)


class AccessLog(BaseAggregate[UUID]):
    """A stream whose entries stand for themselves: it has no state but its version."""

    TOPIC = "AccessLog"

    def __init__(self) -> None:
        """Nothing: the first entry begins the stream."""

    @dataclass(frozen=True, kw_only=True)
    class Event(_Event):
        """Something that happened to an access log."""

    @dataclass(frozen=True, kw_only=True)
    class AccessNoted(Event, CanInitAggregate[UUID]):
        """Somebody was refused an operation, or read what is itself watched.

        operation: as the OpenAPI document names it, or the command of the command line.
        outcome: `read`, or the code of the refusal, such as `errors.policyViolation`.
        count: how many alike this stands for; above a few of a caller in a minute they are counted.
        """

        TOPIC = "AccessNoted"
        originator_topic: str
        client_ext_id: str
        user_ext_id: str
        operation: str
        outcome: str
        count: int

        def mutate(self, aggregate: Any) -> Any:
            """Begin or go on."""
            return super().mutate(None) if aggregate is None else _Event.mutate(self, aggregate)

    @classmethod
    def note(
        cls,
        client_ext_id: str,
        version: int,
        *,
        user_ext_id: str,
        operation: str,
        outcome: str,
        count: int,
        by: Attribution,
    ) -> AccessNoted:
        """Return the entry that follows the one of this version (0: there is none yet)."""
        return cls.AccessNoted(
            originator_id=access_stream_id(client_ext_id),
            originator_version=version + 1,
            originator_topic=cls.TOPIC,
            client_ext_id=client_ext_id,
            user_ext_id=user_ext_id,
            operation=operation,
            outcome=outcome,
            count=count,
            **vars(by),
        )
