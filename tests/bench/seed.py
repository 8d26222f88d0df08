"""Initial credentials, written directly into a store: events, rows and users, without deliveries."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from application.policies.records import POLICIES
from application.tickets.records import save
from application.transaction.records import LoadedState
from application.transaction.store import Store
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import USERS
from domain.policies.policy import OFF, TicketPolicy
from domain.policies.policy_definition import PolicyDefinition, PolicyKey
from domain.shared.attribution import Attribution
from domain.shared.subject import Subject
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket, hash_ticket
from domain.tickets.ticket_credential import TicketCredential
from domain.tickets.validity import Validity
from domain.users.recipient import Recipient

CLIENT = "bench"
TICKET = "the-ticket-of-the-bench"
_POLICY = PolicyKey(CLIENT, "reusable")
_PARAMETERS = TicketPolicy(reusable=True, credential_lifetime=10 * 365 * 86_400_000)
_CHUNK = 1000


def subject(number: int) -> Subject:
    """Return the user with this number."""
    return Subject(CLIENT, f"user-{number}")


def seed_policy(store: Store) -> None:
    """Define a policy with tickets for repeated use."""
    unit = UnitOfWork(LoadedState())
    definition = PolicyDefinition.of(_POLICY, None)
    definition.define(_POLICY, _PARAMETERS, is_default=True, by=_by(datetime.now(UTC), 0))
    unit.save(POLICIES, _POLICY, definition, Subject(CLIENT))
    store.commit(unit.changes)


def seed(store: Store, numbers: Iterable[int], *, length: int = 1) -> None:
    """Give each of these users a credential with a stream of this length."""
    now = datetime.now(UTC)
    ticket = ClearTicket(TICKET)
    ticket_hash = hash_ticket(ticket, b"the salt of the bench")
    validity = Validity.by(_PARAMETERS, now)
    for chunk in _chunks(iter(numbers), max(1, _CHUNK // length)):
        unit = UnitOfWork(LoadedState())
        for number in chunk:
            by = _by(now, number)
            credential = TicketCredential.of(subject(number), None)
            credential.create(
                subject(number),
                ext_id=f"credential-{number}",
                policy_ext_id=_POLICY.policy_ext_id,
                state=State.ACTIVE,
                ticket_hash=ticket_hash,
                validity=validity,
                daily_limit=OFF,
                by=by,
            )
            for _ in range(length - 1):
                credential.regenerate(_PARAMETERS, lambda: (ticket, ticket_hash), daily_limit=OFF, by=by)
            save(unit, credential)
            unit.put(USERS, subject(number), _recipient(number, now))
        store.commit(unit.changes)


def _chunks(numbers: Iterator[int], size: int) -> Iterator[list[int]]:
    while chunk := list(islice(numbers, size)):
        yield chunk


def _by(now: datetime, number: int) -> Attribution:
    return Attribution(
        timestamp=now,
        actor="bench",
        reason=None,
        correlation_id="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        command_id=f"{number:032x}",
        request_digest="0" * 64,
    )


def _recipient(number: int, now: datetime) -> Recipient:
    return Recipient(
        client_ext_id=CLIENT,
        user_ext_id=subject(number).user_ext_id,
        email=f"user-{number}@example.com",
        name=None,
        language=None,
        created=now,
        last_modified=now,
        version=1,
    )
