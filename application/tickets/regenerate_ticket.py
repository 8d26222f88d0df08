"""Regenerate (reset) a ticket."""

from functools import partial

from msgspec import UNSET, UnsetType

from application.policies.records import policy
from application.shared.ports import Clock, Randomness
from application.tickets.minting import MintingCommand, mint_and_hash
from application.tickets.records import Enqueue, credential, save
from application.tickets.response import to_response
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyKey
from domain.tickets.ticket_credential import TicketCredential


class RegenerateTicket(MintingCommand, frozen=True, kw_only=True):
    """Replace the user's ticket by a new one. job: the bulk job of which it is an item."""

    job: str | UnsetType = UNSET


def regenerate_ticket(
    command: RegenerateTicket,
    unit: UnitOfWork,
    *,
    clock: Clock,
    randomness: Randomness,
    enqueue: Enqueue,
    max_daily_deliveries: int,
) -> Answer:
    """Mint a new ticket under the current policy; the former one is no longer accepted.

    Raises UserNotFound, TicketNotFound, PreconditionFailed, CredentialDisabled, CredentialArchived, SlowWork,
    DailyLimitReached.
    """
    by = command.attribution(clock())
    ticket_credential, current_policy = _credential_and_policy(command, unit)
    mint = partial(mint_and_hash, command, current_policy, randomness)
    limit = command.daily_limit(current_policy, max_daily_deliveries)
    ticket = ticket_credential.regenerate(current_policy, mint, daily_limit=limit, by=by, job=command.job)
    state = save(unit, ticket_credential)
    enqueue(unit, state, ticket, current_policy, command.correlation_id)
    # No caller reads the response of an item.
    response = to_response(state, by.timestamp) if command.job is UNSET else None
    return command.done(Outcome.CHANGED, state.version, response)


def check_regenerate(
    command: RegenerateTicket, unit: UnitOfWork, *, clock: Clock, max_daily_deliveries: int
) -> None:
    """Check the rules of `regenerate_ticket`, and change nothing. Raises the same refusals."""
    ticket_credential, current_policy = _credential_and_policy(command, unit)
    limit = command.daily_limit(current_policy, max_daily_deliveries)
    ticket_credential.check_regenerate(daily_limit=limit, by=command.attribution(clock()))


def _credential_and_policy(
    command: RegenerateTicket, unit: UnitOfWork
) -> tuple[TicketCredential, TicketPolicy]:
    """Return the user's credential and its policy. Raises UserNotFound, TicketNotFound, PreconditionFailed, UnknownPolicy."""
    ticket_credential = credential(unit, command.subject)
    command.precondition.check(ticket_credential.version)
    key = PolicyKey(command.subject.client_ext_id, ticket_credential.current.policy_ext_id)
    return ticket_credential, policy(unit, key)
