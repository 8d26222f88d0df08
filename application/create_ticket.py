"""Create the ticket credential of a user."""

from dataclasses import dataclass
from datetime import datetime

from application.command import Answer, Command
from application.errors import TicketExists
from application.minting import mint_and_hash, seal_and_hand_over
from application.ports import Clock, Randomness, Sealer
from application.projection import to_response
from application.unit_of_work import UnitOfWork
from domain.policy import DEFAULT_POLICY, TicketPolicy
from domain.ticket_credential import State, TicketCredential, Validity


@dataclass(frozen=True, kw_only=True)
class CreateTicket(Command):
    """Give the user a first ticket. What is None is decided by the service or the policy."""

    ext_id: str | None = None
    policy_ext_id: str | None = None
    state: State = State.ACTIVE
    valid_from: datetime | None = None
    valid_to: datetime | None = None


def create_ticket(
    command: CreateTicket, unit: UnitOfWork, *, clock: Clock, randomness: Randomness, sealer: Sealer
) -> Answer:
    """Mint the first ticket of a user.

    Raises UserUnknown, TicketExists, PreconditionFailed, PolicyUnknown, ValidityImpossible.
    """
    unit.recipient(command.subject)
    if unit.has_ticket(command.subject):
        raise TicketExists(
            f"User {command.subject.user_ext_id!r} has a ticket already. Reset it to get a new one."
        )
    command.precondition.check(None)
    policy = unit.policy(command.subject.client_ext_id, command.policy_ext_id or DEFAULT_POLICY.ext_id)
    by = command.attribution(clock())
    ticket, ticket_hash = mint_and_hash(policy, randomness)
    credential = TicketCredential.create(
        command.subject.client_ext_id,
        command.subject.user_ext_id,
        ext_id=command.ext_id or str(randomness.uuid()),
        policy_ext_id=policy.ext_id,
        state=command.state,
        ticket_hash=ticket_hash,
        validity=_validity(command, policy, by.timestamp),
        by=by,
    )
    row = unit.save(credential)
    seal_and_hand_over(ticket, row, unit, sealer)
    return command.done("created", row.version, to_response(row))


def _validity(command: CreateTicket, policy: TicketPolicy, now: datetime) -> Validity:
    start = command.valid_from or now
    return Validity(start, command.valid_to) if command.valid_to else Validity.by(policy, start)
