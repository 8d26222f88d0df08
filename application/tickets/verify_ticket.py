"""Verify a ticket that somebody presents."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from application.shared.wire import UtcDate, utc_date
from application.tickets.minting import Compared, MintingCommand, compares, hash_by
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.ports import Clock, Randomness
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyKey
from domain.tickets.ticket import ClearTicket, is_weaker
from domain.tickets.ticket_credential import TicketCredential, Verdict


@dataclass(frozen=True, kw_only=True)
class VerifyTicket(MintingCommand):
    """Is this the user's ticket, and may it be used now?"""

    ticket: ClearTicket
    compared: Compared | None = None


class VerifyResponse(BaseModel):
    """Whether the ticket was accepted, and why not."""

    verified: bool
    reason: Annotated[Verdict | None, Field(description="Why the ticket is not accepted.")]
    lockedUntil: Annotated[UtcDate | None, Field(description="When a temporary lock ends by itself.")]


def verify_ticket(command: VerifyTicket, unit: UnitOfWork, *, clock: Clock, randomness: Randomness) -> Answer:
    """Compare, count and lock by the policy as it is now. Every refusal costs what a comparison costs.

    Raises UserUnknown, TicketUnknown, PreconditionFailed, SlowWork.
    """
    row = unit.ticket_or_none(command.subject)
    key = (
        PolicyKey(command.subject.client_ext_id, row.policy_ext_id)
        if row
        else unit.default_policy(command.subject.client_ext_id)
    )
    policy = unit.policy(key)
    matches = compares(command, command.ticket, command.compared, row, policy)
    credential = unit.credential(command.subject)
    command.precondition.check(credential.version)
    by = command.attribution(clock())
    upgraded = _upgraded_hash(command, credential, policy, randomness, by.timestamp) if matches else None
    verdict = credential.verify(policy, matches=matches, by=by)
    if upgraded:
        credential.upgrade_hash(upgraded, by=by)
    row = unit.save(credential)
    locked_until = row.locked_until if verdict in (Verdict.LOCKED, Verdict.WRONG_TICKET) else None
    response = VerifyResponse(verified=verdict is None, reason=verdict, lockedUntil=utc_date(locked_until))
    return command.done(Outcome.LOCKED if verdict is Verdict.LOCKED else Outcome.VERIFIED, None, response)


def _upgraded_hash(
    command: VerifyTicket,
    credential: TicketCredential,
    policy: TicketPolicy,
    randomness: Randomness,
    now: datetime,
) -> str | None:
    """Return the hash that a ticket which goes on in use gets, where the policy asks for a stronger one today."""
    accepted = credential.judge(policy, now) is None
    if not (accepted and policy.reusable and is_weaker(credential.current.ticket_hash, policy)):
        return None
    return hash_by(command, policy, command.ticket, randomness)
