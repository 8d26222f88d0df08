"""How what the application keeps is written into columns: JSON by msgspec, the same bytes in every store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from eventsourcing.utils import get_topic, resolve_topic

from application.command import Answer, Subject
from application.policy_row import PolicyRow
from application.ports import Changes, OutboxEntry
from application.projection import TicketRow
from application.recipient import Recipient

_encode = msgspec.json.Encoder().encode
_ticket = msgspec.json.Decoder(TicketRow).decode
_recipient = msgspec.json.Decoder(Recipient).decode
_policy = msgspec.json.Decoder(PolicyRow).decode
_answer = msgspec.json.Decoder(Answer).decode

Row = tuple[Any, ...]


class JsonMapper(Mapper[UUID]):
    """Writes an event as one JSON object of all its fields, and reads it back; fields unknown here are passed over.

    The stored shape is the event's own (domain/ticket_credential.py); there is nothing to upcast, since
    shapes only grow by fields with defaults.
    """

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Return the event as the store keeps it."""
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=get_topic(type(domain_event)),
            state=_encode(domain_event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Return the event behind the stored bytes. Raises msgspec.ValidationError where they are not one."""
        event: DomainEventProtocol[UUID] = _decoder(stored_event.topic)(stored_event.state)
        return event


@cache
def _decoder(topic: str) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(resolve_topic(topic)).decode


@dataclass(frozen=True)
class Records:
    """The rows of one transaction beside its events, each in the order of its table's columns."""

    tickets: list[Row]
    recipients: list[Row]
    policies: list[Row]
    outbox: list[Row]
    answers: list[Row]


def to_records(changes: Changes) -> Records:
    """Return the changes, but for the events, as rows."""
    return Records(
        tickets=[(*subject, row.version, _encode(row)) for subject, row in changes.tickets.items()],
        recipients=[(*subject, row.version, _encode(row)) for subject, row in changes.recipients.items()],
        policies=[(*key, row.version, _encode(row)) for key, row in changes.policies.items()],
        outbox=[
            (*e.subject, e.stream.hex, e.version, e.sealed, e.minted.isoformat()) for e in changes.outbox
        ],
        answers=[(*key, _encode(answer)) for key, answer in changes.answers.items()],
    )


def to_ticket(row: bytes) -> TicketRow:
    """Return the ticket behind the `row` column."""
    return _ticket(row)


def to_recipient(row: bytes) -> Recipient:
    """Return the recipient behind the `row` column."""
    return _recipient(row)


def to_policy(row: bytes) -> PolicyRow:
    """Return the policy behind the `row` column."""
    return _policy(row)


def to_answer(row: bytes) -> Answer:
    """Return the answer behind the `row` column."""
    return _answer(row)


def to_outbox_entry(row: Row) -> OutboxEntry:
    """Return the entry behind the columns of the outbox."""
    client_ext_id, user_ext_id, stream, version, sealed, minted = row
    return OutboxEntry(
        Subject(client_ext_id, user_ext_id),
        UUID(stream),
        version,
        bytes(sealed),
        datetime.fromisoformat(minted),
    )
