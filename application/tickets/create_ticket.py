"""Create the ticket credential of a user."""

from datetime import datetime

from application.policies.records import default_policy, policy
from application.shared.ports import Clock, Randomness
from application.tickets.minting import MintingCommand, mint_and_hash
from application.tickets.records import Enqueue, new_credential, save
from application.tickets.response import to_response
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from application.users.records import user
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyKey
from domain.shared.identifiers import check_new_id
from domain.tickets.states import State
from domain.tickets.validity import Validity


class CreateTicket(MintingCommand, frozen=True, kw_only=True):
    """Create a credential. The service or the policy supplies the fields that are None."""

    ext_id: str | None = None
    policy_ext_id: str | None = None
    state: State = State.ACTIVE
    valid_from: datetime | None = None
    valid_to: datetime | None = None


def create_ticket(
    command: CreateTicket,
    unit: UnitOfWork,
    *,
    clock: Clock,
    randomness: Randomness,
    enqueue: Enqueue,
    max_daily_deliveries: int,
) -> Answer:
    """Create the credential with its first ticket, and queue the ticket for delivery.

    Raises UserNotFound, InvalidIdentifier, TicketExists, PreconditionFailed, UnknownPolicy, InvalidValidity, SlowWork,
    DailyLimitReached.
    """
    user(unit, command.subject)
    if command.ext_id is not None:
        check_new_id("extId", command.ext_id)
    credential = new_credential(unit, command.subject)
    command.precondition.check(None)
    key = _policy_key(command, unit)
    current_policy = policy(unit, key)
    by = command.attribution(clock())
    validity = _validity(command, current_policy, by.timestamp)
    ticket, ticket_hash = mint_and_hash(command, current_policy, randomness)
    credential.create(
        command.subject,
        ext_id=command.ext_id or str(randomness.uuid()),
        policy_ext_id=key.policy_ext_id,
        state=command.state,
        ticket_hash=ticket_hash,
        validity=validity,
        daily_limit=command.daily_limit(current_policy, max_daily_deliveries),
        by=by,
    )
    state = save(unit, credential)
    enqueue(unit, state, ticket, current_policy, command.correlation_id)
    return command.done(Outcome.CREATED, state.version, to_response(state, by.timestamp))


def _policy_key(command: CreateTicket, unit: UnitOfWork) -> PolicyKey:
    client_ext_id = command.subject.client_ext_id
    if command.policy_ext_id is None:
        return default_policy(unit, client_ext_id)
    return PolicyKey(client_ext_id, command.policy_ext_id)


def _validity(command: CreateTicket, policy: TicketPolicy, now: datetime) -> Validity:
    start = command.valid_from or now
    return Validity(start, command.valid_to) if command.valid_to else Validity.by(policy, start)
