"""Record, once per ticket, that it is close to expiration and that it has expired."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from application.policies.records import policy
from application.shared.errors import RowRefused
from application.shared.ports import Clock
from application.tickets.find_tickets import ExpiryPageKey, Tickets
from application.tickets.records import TicketCommand, credential, save
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.store import Store
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import DEFAULT_POLICY
from domain.policies.policy_definition import PolicyKey
from domain.tickets.events import TicketExpired, TicketExpirySoon

ACTOR = "tickets jobs expire"
PAGE = 500


class NoteExpiry(TicketCommand, frozen=True, kw_only=True):
    """Record the expiry event that is due, if any."""


@dataclass
class ExpiryReport:
    """The numbers of TicketExpirySoon and TicketExpired events that were recorded."""

    soon: int = 0
    ended: int = 0


def note_expiry(command: NoteExpiry, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Emit at most one event. Raises UserNotFound, TicketNotFound, UnknownPolicy."""
    ticket_credential = credential(unit, command.subject)
    key = PolicyKey(command.subject.client_ext_id, ticket_credential.current.policy_ext_id)
    ticket_credential.note_expiry(policy(unit, key), by=command.attribution(clock()))
    emitted = [type(event) for event in ticket_credential.pending_events]
    row = save(unit, ticket_credential)
    outcome = {
        TicketExpirySoon: Outcome.SOON,
        TicketExpired: Outcome.ENDED,
    }
    return command.done(outcome[emitted[0]] if emitted else Outcome.UNCHANGED, row.version, None)  # type: ignore[index]


def expire_tickets(
    *,
    store: Store,
    tickets: Tickets,
    clock: Clock,
    submit: Callable[[Command], Future[Answer]],
    new_command_id: Callable[[], str],
    correlation_id: str,
    stopped: Callable[[], bool] = lambda: False,
) -> ExpiryReport | None:
    """Record the due expiry events of all tickets, found by an index; None: another process is doing so.

    The credential records each event once, so a run that crashed or stopped can be repeated. `stopped` is called
    before each page. Raises StoreUnavailable.
    """
    with store.lease("expire") as held:
        if not held:
            return None
        report, now, place = ExpiryReport(), clock(), None
        days = max(tickets.longest_warning_days(), DEFAULT_POLICY.close_to_expiration_threshold)
        while not stopped() and (rows := tickets.expiring(now, now + timedelta(days=days), place, PAGE)):
            commands = [
                NoteExpiry(
                    subject=row.subject,
                    actor=ACTOR,
                    correlation_id=correlation_id,
                    command_id=new_command_id(),
                    request_digest="",
                )
                for row in rows
            ]
            for future in [submit(command) for command in commands]:
                with suppress(RowRefused):  # logged by the store; the others must not wait for a repair
                    outcome = future.result().outcome
                    report.soon += outcome == Outcome.SOON
                    report.ended += outcome == Outcome.ENDED
            last = rows[-1]
            place = ExpiryPageKey(last.valid_to, last.client_ext_id, last.user_ext_id)
        return report
