"""Regenerate (reset) a ticket."""

from functools import partial

from application.policies.records import policy
from application.shared.ports import Clock, Randomness
from application.tickets.minting import MintingCommand, mint_and_hash
from application.tickets.records import Enqueue, credential, save
from application.tickets.response import to_response
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy_definition import PolicyKey


class RegenerateTicket(MintingCommand, frozen=True, kw_only=True):
    """Replace the user's ticket by a new one."""


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
    ticket_credential = credential(unit, command.subject)
    command.precondition.check(ticket_credential.version)
    key = PolicyKey(command.subject.client_ext_id, ticket_credential.current.policy_ext_id)
    current_policy = policy(unit, key)
    by = command.attribution(clock())
    mint = partial(mint_and_hash, command, current_policy, randomness)
    limit = command.daily_limit(current_policy, max_daily_deliveries)
    ticket = ticket_credential.regenerate(current_policy, mint, daily_limit=limit, by=by)
    state = save(unit, ticket_credential)
    enqueue(unit, state, ticket, current_policy, command.correlation_id)
    return command.done(Outcome.CHANGED, state.version, to_response(state, by.timestamp))
