"""Say of each ticket once that it ends soon, and once that it has ended."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta

from application.policies.records import policy
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


@dataclass(frozen=True, kw_only=True)
class NoteExpiry(TicketCommand):
    """Say that the ticket ends soon or has ended, if it is time and was not said yet."""


@dataclass
class ExpiryReport:
    """How many tickets were said to end soon, and to have ended."""

    soon: int = 0
    ended: int = 0


def note_expiry(command: NoteExpiry, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Trigger at most one event. Raises UserUnknown, TicketUnknown, PolicyUnknown."""
    ticket_credential = credential(unit, command.subject)
    key = PolicyKey(command.subject.client_ext_id, ticket_credential.current.policy_ext_id)
    ticket_credential.note_expiry(policy(unit, key), by=command.attribution(clock()))
    said = [type(event) for event in ticket_credential.pending_events]
    row = save(unit, ticket_credential)
    outcome = {
        TicketExpirySoon: Outcome.SOON,
        TicketExpired: Outcome.ENDED,
    }
    return command.done(outcome[said[0]] if said else Outcome.UNCHANGED, row.version, None)  # type: ignore[index]


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
    """Go through the tickets that end soon or have ended, by an index; None where another process does it now.

    That each thing is said once is the credential's own rule, so a crash in between repeats nothing, and neither does
    a stop: it is looked for at each page. Raises StoreUnavailable.
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
                outcome = future.result().outcome
                report.soon += outcome == Outcome.SOON
                report.ended += outcome == Outcome.ENDED
            last = rows[-1]
            place = ExpiryPageKey(last.valid_to, last.client_ext_id, last.user_ext_id)
        return report
