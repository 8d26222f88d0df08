"""Modify or delete a ticket credential."""

from datetime import datetime

from application.policies.records import policy
from application.shared.ports import Clock
from application.tickets.records import TicketCommand, credential, save
from application.tickets.response import to_response
from application.transaction.command import Answer
from application.transaction.outcomes import Outcome
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy_definition import PolicyKey
from domain.shared.errors import Kind, Refusal
from domain.tickets.states import State
from domain.tickets.ticket_credential import TicketCredential
from domain.tickets.validity import Validity


class StaleVersion(Refusal):
    """The version in the request body is not the current version."""

    CODE = "StaleVersion"
    KIND = Kind.STALE_VERSION


class ModifyTicket(TicketCommand, frozen=True, kw_only=True):
    """Change the given fields; None leaves a field unchanged."""

    version: int | None = None
    state: State | None = None
    policy_ext_id: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None


class DeleteTicket(TicketCommand, frozen=True, kw_only=True):
    """Delete the credential; its history is retained."""


def modify_ticket(command: ModifyTicket, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Change state, policy, validity or comment; emits one event per changed property.

    Raises UserNotFound, TicketNotFound, PreconditionFailed, StaleVersion, UnknownPolicy, InvalidValidity,
    CredentialFinal.
    """
    ticket_credential = credential(unit, command.subject)
    command.precondition.check(ticket_credential.version)
    if command.version not in (None, ticket_credential.version):
        raise StaleVersion(
            f"The version is {ticket_credential.version}, not {command.version}. Reload the ticket and retry."
        )
    now = clock()
    _modify(ticket_credential, command, unit, now)
    state = save(unit, ticket_credential)
    return command.done(Outcome.CHANGED, state.version, to_response(state, now))


def _modify(credential: TicketCredential, command: ModifyTicket, unit: UnitOfWork, now: datetime) -> None:
    by, current = command.attribution(now), credential.current
    if command.policy_ext_id is not None:
        policy(unit, PolicyKey(current.client_ext_id, command.policy_ext_id))
        credential.assign_policy(command.policy_ext_id, by=by)
    if command.valid_from or command.valid_to:
        validity = Validity(command.valid_from or current.valid_from, command.valid_to or current.valid_to)
        credential.change_validity(validity, by=by)
    if command.state is not None:
        credential.change_state(command.state, by=by)
    if command.reason is not None and command.reason != credential.current.modification_comment:
        credential.comment(by=by)


def delete_ticket(command: DeleteTicket, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Delete the credential. Raises UserNotFound, TicketNotFound, PreconditionFailed."""
    ticket_credential = credential(unit, command.subject)
    command.precondition.check(ticket_credential.version)
    ticket_credential.delete(by=command.attribution(clock()))
    save(unit, ticket_credential)
    return command.done(Outcome.DELETED, None, None)
