"""Import the credential of another system, with its hash."""

from datetime import datetime
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from application.policies.records import default_policy, policy
from application.shared.ports import Clock
from application.tickets.credential_row import CredentialRow
from application.tickets.minting import SlowWork
from application.tickets.records import TICKETS, TicketCommand, save
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import user
from domain.policies.policy import TicketPolicy, WeakHash
from domain.policies.policy_definition import PolicyKey
from domain.shared.errors import Kind, Refusal
from domain.shared.identifiers import check_new_id
from domain.tickets.imported_ticket import ImportedTicket
from domain.tickets.states import State
from domain.tickets.stored_hash import fast_hash, fault_of_hash, is_sha_1, kind_of, wrapped
from domain.tickets.ticket import is_weaker
from domain.tickets.ticket_credential import TicketCredential
from domain.tickets.validity import Validity


class UnusableHash(Refusal):
    """No ticket can be verified against the hash of a row."""

    CODE = "HashUnusable"
    KIND = Kind.INVALID


WRAPPED, ADMITTED = "wrapped", "admitted"
VALIDITY, LOCK = "validity.to", "lockedUntil"


class WrappedHash(NamedTuple):
    """A fast hash, and the slow hash over it."""

    ticket_hash: str
    wrapped: str


class ImportTicket(TicketCommand, frozen=True, kw_only=True):
    """Import a row. salt_first: the salt of a fast hash stands before the ticket. dry_run: check it, and change nothing.

    history_digest: hex SHA-256 of the document with the history of the credential in the other system.
    """

    row: CredentialRow
    source: str
    salt_first: bool = False
    dry_run: bool = False
    history_digest: str | None = None
    wrapped: WrappedHash | None = None


def import_ticket(command: ImportTicket, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Import the credential, unless this row was imported before.

    The body of the answer has the kind of the hash, its treatment, and the names of the values that the policy supplied.
    Raises UserNotFound, UnusableHash, PreconditionFailed, UnknownPolicy, InvalidIdentifier, InvalidValidity, ImportConflict, SlowWork.
    """
    user(unit, command.subject)
    row, state = command.row, unit.get(TICKETS, command.subject)
    if fault := fault_of_hash(row.ticket):
        raise UnusableHash(f"ticket {fault}.")
    credential = TicketCredential.of(command.subject, state)
    digest = row.digest(command.source, salt_first=command.salt_first)
    if credential.has_row(digest):
        return command.done(Outcome.UNCHANGED, None, None)
    command.precondition.check(state.version if state and not state.deleted else None)
    check_new_id("extId", row.extId)
    credential.check_importable(row.extId)
    key = _policy_key(command, unit)
    current_policy = policy(unit, key)
    by = command.attribution(clock())
    validity, locked_until, assumed = _periods(row, current_policy, by.timestamp)
    ticket_hash, treatment = _admitted_hash(command, current_policy)
    if not command.dry_run:
        ticket = ImportedTicket(
            ext_id=row.extId,
            policy_ext_id=key.policy_ext_id,
            state_name=row.stateName,
            state_change_reason=row.stateChangeReason or "initialized",
            ticket_hash=ticket_hash,
            valid_from=validity.start,
            valid_to=validity.end,
            created=row.created or by.timestamp,
            last_successful_login_date=row.lastSuccessfulLoginDate,
            successful_login_count=row.successfulLoginCount,
            last_failed_login_date=row.lastFailedLoginDate,
            failed_login_count=row.failedLoginCount,
            failure_count=row.failureCount,
            success_count=row.successCount,
            reset_count=row.resetCount,
            locked_until=locked_until,
            source=command.source,
            source_version=row.version,
            row_digest=digest,
            history_digest=command.history_digest or UNSET,
        )
        credential.import_(command.subject, ticket, current_policy, by=by)
        save(unit, credential)
    outcome = Outcome.CHANGED if state else Outcome.CREATED
    mapped = {"hash": kind_of(ticket_hash), "treatment": treatment, "assumed": assumed}
    return command.done(outcome, None, mapped)


def _policy_key(command: ImportTicket, unit: UnitOfWork) -> PolicyKey:
    client_ext_id, policy_ext_id = command.subject.client_ext_id, command.row.policyExtId
    return PolicyKey(client_ext_id, policy_ext_id) if policy_ext_id else default_policy(unit, client_ext_id)


def _periods(
    row: CredentialRow, policy: TicketPolicy, now: datetime
) -> tuple[Validity, datetime | None, list[str]]:
    """Return the validity, the end of a temporary lock, and the names of those that the policy supplied.

    Raises InvalidValidity.
    """
    assumed, start, locked_until = [], row.validity.from_ or row.created or now, None
    if row.validity.to:
        validity = Validity(start, row.validity.to)
    else:
        validity = Validity.by(policy, start)
        assumed.append(VALIDITY)
    if row.stateName is State.TMP_LOCKED:
        locked_until = row.lockedUntil or now + policy.lock_duration
        assumed += [] if row.lockedUntil else [LOCK]
    return validity, locked_until, assumed


def _admitted_hash(command: ImportTicket, policy: TicketPolicy) -> tuple[str, str | None]:
    """Return the hash to store, and whether it was wrapped or admitted by an exception. Raises SlowWork."""
    ticket_hash = command.row.stored_hash(salt_first=command.salt_first)
    if not is_weaker(ticket_hash, policy):
        return ticket_hash, None
    if (WeakHash.SSHA if is_sha_1(ticket_hash) else WeakHash.SSHA256) in policy.admitted_hashes:
        return ticket_hash, ADMITTED
    if command.wrapped and command.wrapped.ticket_hash == ticket_hash:
        return command.wrapped.wrapped, WRAPPED
    fast = fast_hash(ticket_hash)
    assert fast  # noqa: S101 - a weaker hash is a fast one
    if command.dry_run:
        return wrapped(fast, ""), WRAPPED
    raise SlowWork(lambda slow_hash: replace(command, wrapped=WrappedHash(ticket_hash, slow_hash.wrap(fast))))
