"""Regenerate a ticket: the operation this service exists for."""

from dataclasses import dataclass

from application.tickets.minting import MintingCommand, mint_and_hash, seal_and_hand_over
from application.tickets.response import to_response
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.ports import Clock, Randomness, Sealer
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy_definition import PolicyKey
from domain.tickets.validity import Validity


@dataclass(frozen=True, kw_only=True)
class RegenerateTicket(MintingCommand):
    """Replace the user's ticket by a new one."""


def regenerate_ticket(
    command: RegenerateTicket, unit: UnitOfWork, *, clock: Clock, randomness: Randomness, sealer: Sealer
) -> Answer:
    """Mint a new ticket by the policy as it is now, and kill the old one.

    Raises UserUnknown, TicketUnknown, PreconditionFailed, CredentialDisabled, CredentialArchived, SlowWork.
    """
    credential = unit.credential(command.subject)
    command.precondition.check(credential.version)
    policy = unit.policy(PolicyKey(command.subject.client_ext_id, credential.current.policy_ext_id))
    by = command.attribution(clock())
    ticket, ticket_hash = mint_and_hash(command, policy, randomness)
    credential.regenerate(ticket_hash, Validity.by(policy, by.timestamp), by=by)
    row = unit.save(credential)
    seal_and_hand_over(ticket, row, policy, unit, sealer, command.correlation_id)
    return command.done(Outcome.CHANGED, row.version, to_response(row, by.timestamp))
