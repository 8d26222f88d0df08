"""Verify a presented ticket."""

from datetime import datetime
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from application.policies.records import default_policy, policy
from application.shared.ports import Clock, Randomness
from application.shared.wire import UtcDate, utc_date
from application.tickets.minting import HashComparison, MintingCommand, hash_for_policy, ticket_matches
from application.tickets.records import credential, save, ticket_or_none
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyKey
from domain.tickets.ticket import ClearTicket, is_weaker
from domain.tickets.ticket_credential import TicketCredential, Verdict
from domain.tickets.typed_ticket import as_minted


class VerifyTicket(MintingCommand, frozen=True, kw_only=True):
    """Verify a ticket and record the attempt."""

    ticket: ClearTicket
    compared: HashComparison | None = None


class VerifyResponse(TypedDict):
    """The result of a verification."""

    verified: bool
    reason: Annotated[Verdict | None, Field(description="Reason for the rejection.")]
    lockedUntil: Annotated[UtcDate | None, Field(description="End of the temporary lock.")]


def verify_ticket(command: VerifyTicket, unit: UnitOfWork, *, clock: Clock, randomness: Randomness) -> Answer:
    """Compare, count and lock under the current policy. A rejection costs as much time as a comparison.

    Raises UserNotFound, TicketNotFound, PreconditionFailed, SlowWork.
    """
    client, found = command.subject.client_ext_id, ticket_or_none(unit, command.subject)
    key = PolicyKey(client, found.policy_ext_id) if found else default_policy(unit, client)
    current_policy = policy(unit, key)
    matches = ticket_matches(command, command.ticket, command.compared, found, current_policy)
    ticket_credential = credential(unit, command.subject)
    command.precondition.check(ticket_credential.version)
    by = command.attribution(clock())
    upgraded = (
        _upgraded_hash(command, ticket_credential, current_policy, randomness, by.timestamp)
        if matches
        else None
    )
    verdict = ticket_credential.verify(current_policy, matches=matches, by=by)
    if upgraded:
        ticket_credential.upgrade_hash(upgraded, by=by)
    state = save(unit, ticket_credential)
    locked_until = state.locked_until if verdict in (Verdict.LOCKED, Verdict.WRONG_TICKET) else None
    response: VerifyResponse = {
        "verified": verdict is None,
        "reason": verdict,
        "lockedUntil": utc_date(locked_until),
    }
    outcome = Outcome.LOCKED if verdict is Verdict.LOCKED else Outcome.VERIFIED
    return command.done(outcome, None, response)


def _upgraded_hash(
    command: VerifyTicket,
    credential: TicketCredential,
    policy: TicketPolicy,
    randomness: Randomness,
    now: datetime,
) -> str | None:
    """Return a stronger hash for a reusable ticket if the current policy requires it; None: no upgrade."""
    is_wanted = policy.reusable and is_weaker(credential.current.ticket_hash, policy)
    if not is_wanted or credential.rejection(policy, now):
        return None
    return hash_for_policy(command, policy, as_minted(command.ticket, policy), randomness)
