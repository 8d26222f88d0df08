"""How what the application keeps is written into columns: JSON by msgspec, the same bytes in every store."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from eventsourcing.utils import get_topic

from application.record.streams import EVENTS, LedgerColumns, column_date, columns_of
from application.transaction.command import Answer
from application.transaction.ports import Changes, Erasure, Expiry, Place, TicketQuery
from domain.policies.policy_definition import PolicyState
from domain.shared.event import Event, UnknownEvent
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.users.recipient import Recipient

_encode = msgspec.json.Encoder().encode
_ticket = msgspec.json.Decoder(TicketState).decode
_recipient = msgspec.json.Decoder(Recipient).decode
_policy = msgspec.json.Decoder(PolicyState).decode
_answer = msgspec.json.Decoder(Answer).decode

Row = tuple[Any, ...]


class JsonMapper(Mapper[UUID]):
    """Writes an event as one JSON object of all its fields, and reads it back; fields unknown here are passed over.

    The stored shape is the event's own (domain/tickets/ticket_credential.py); there is nothing to upcast, since
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


def decoded(topic: str, state: bytes) -> Event:
    """Return the event behind stored bytes; an UnknownEvent where its type is of a later release.

    Raises ValueError (msgspec.ValidationError) where the bytes are not an event.
    """
    event: Event = _decoder(topic)(state)
    return event


@cache
def _decoder(topic: str) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(EVENTS.get(topic, UnknownEvent)).decode


@dataclass(frozen=True)
class Records:
    """The rows of one transaction beside its events, each in the order of its table's columns.

    ledger: of each event; the position and the leaf only the store knows.
    """

    ledger: list[LedgerColumns]
    tickets: list[Row]
    recipients: list[Row | Erasure]
    policies: list[Row]
    answers: list[Row]


def to_records(changes: Changes) -> Records:
    """Return the changes, but for the events, as rows."""
    return Records(
        ledger=[
            columns_of(event, subject)
            for event, subject in zip(changes.events, changes.subjects, strict=True)
        ],
        tickets=[ticket_columns(row) for row in changes.tickets.values()],
        recipients=[
            change if isinstance(change, Erasure) else (*change.subject, change.version, _encode(change))
            for change in changes.recipients
        ],
        policies=[(*key, row.version, _encode(row)) for key, row in changes.policies.items()],
        answers=[(*key, _encode(answer)) for key, answer in changes.answers.items()],
    )


# A deleted ticket is in no state, so that nobody finds it.
_DELETED = "deleted"


TICKET_COLUMNS = (
    "client_ext_id, user_ext_id, version, row, state_name, locked_until, policy_ext_id, valid_to, last_modified,"
    " expiry_step"
)


def ticket_columns(row: TicketState) -> Row:
    """Return a ticket as the columns of its table."""
    return (
        *row.subject,
        row.version,
        _encode(row),
        _DELETED if row.deleted else row.state_name,
        column_date(row.locked_until) if row.locked_until else "",
        row.policy_ext_id,
        column_date(row.valid_to),
        column_date(row.last_modified),
        row.expiry_step,
    )


def as_of_this_release(columns: Row) -> Row:
    """Return the columns of a ticket with its row as this release writes it: rows only grow, by fields with defaults."""
    client, user, version, row, *searched = columns
    with suppress(ValueError, RecursionError):
        row = _encode(_ticket(row))
    return client, user, version, row, *searched


def ticket_conditions(query: TicketQuery, after: Place | None, mark: str) -> tuple[str, list[str]]:
    """Return the condition and the order of a search in SQL, and its parameters; `mark` is the placeholder."""
    now = column_date(query.now)
    wanted: list[tuple[str, list[str]]] = [(f"client_ext_id = {mark}", [query.client_ext_id])]
    match query.state:
        case None:
            wanted.append((f"state_name <> {mark}", [_DELETED]))
        case State.ACTIVE:
            ran_out = f"(state_name = {mark} OR (state_name = {mark} AND locked_until <= {mark}))"
            wanted.append((ran_out, [State.ACTIVE, State.TMP_LOCKED, now]))
        case State.TMP_LOCKED:
            wanted.append((f"state_name = {mark} AND locked_until > {mark}", [State.TMP_LOCKED, now]))
        case state:
            wanted.append((f"state_name = {mark}", [state]))
    if query.policy_ext_id:
        wanted.append((f"policy_ext_id = {mark}", [query.policy_ext_id]))
    if query.expires_before:
        wanted.append((f"valid_to < {mark}", [column_date(query.expires_before)]))
    # Where a page goes on by this column it begins behind the bound already; naming both would make SQLite
    # walk from the bound.
    if query.last_modified_after and not (after and query.order == "last_modified"):
        wanted.append((f"last_modified > {mark}", [column_date(query.last_modified_after)]))
    if after:
        wanted.append((f"({query.order}, user_ext_id) > ({mark}, {mark})", [*after]))
    condition = " AND ".join(condition for condition, _ in wanted)
    parameters = [parameter for _, parameters in wanted for parameter in parameters]
    return f"{condition} ORDER BY {query.order}, user_ext_id", parameters


# Of step 0 those that end soon, of step 1 those that have ended; each part is a range of one index.
EXPIRING = """
SELECT row FROM (
    SELECT row, valid_to, client_ext_id, user_ext_id FROM tickets WHERE expiry_step = 0 AND valid_to <= {mark}
    UNION ALL
    SELECT row, valid_to, client_ext_id, user_ext_id FROM tickets WHERE expiry_step = 1 AND valid_to <= {mark}
) AS expiring
WHERE (valid_to, client_ext_id, user_ext_id) > ({mark}, {mark}, {mark})
ORDER BY valid_to, client_ext_id, user_ext_id LIMIT {mark}
"""


def expiring_parameters(ended: datetime, soon: datetime, after: Expiry | None, limit: int) -> list[Any]:
    """Return the parameters of EXPIRING."""
    place = (column_date(after.valid_to), after.client_ext_id, after.user_ext_id) if after else ("", "", "")
    return [column_date(soon), column_date(ended), *place, limit]


def to_ticket(row: bytes) -> TicketState:
    """Return the ticket behind the `row` column."""
    return _ticket(row)


def to_recipient(row: bytes) -> Recipient:
    """Return the recipient behind the `row` column."""
    return _recipient(row)


def to_policy(row: bytes) -> PolicyState:
    """Return the policy behind the `row` column."""
    return _policy(row)


def to_answer(row: bytes) -> Answer:
    """Return the answer behind the `row` column."""
    return _answer(row)
