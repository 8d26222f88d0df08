"""The ticket credential aggregate, one per user and client. domain/tickets/evolution.py evolves its state."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from domain.policies.policy import MAX_FAILURES, OFF, TicketPolicy
from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.errors import Refusal
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.tickets import events, evolution, states
from domain.tickets.daily_limit import DailyCount
from domain.tickets.events import stream_id
from domain.tickets.guessing_limit import CredentialLocked, is_guessed_out, state_after_wrong_ticket
from domain.tickets.imported_ticket import ImportedTicket
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket
from domain.tickets.validity import Validity


class CredentialDisabled(Refusal):
    """A disabled credential cannot be reset."""

    CODE = "CredentialDisabled"


class CredentialArchived(Refusal):
    """An archived credential cannot be reset."""

    CODE = "CredentialArchived"


class CredentialFinal(Refusal):
    """An archived credential cannot be changed, only deleted."""

    CODE = "CredentialFinal"


class ImportConflict(Refusal):
    """A row cannot be imported, since this service has changed or created the credential."""

    CODE = "ImportConflict"


class Verdict(StrEnum):
    """The reason why a ticket was not accepted, named as in docs/http-contract.md."""

    WRONG_TICKET = "wrong-ticket"
    LOCKED = "locked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    USED = "used"
    DISABLED = "disabled"


class TicketCredential(Aggregate[TicketState]):
    """A ticket credential. Each public method checks its rules, then emits at most one event."""

    TOPIC = events.AGGREGATE
    evolve = staticmethod(evolution.evolve)

    @classmethod
    def of(cls, subject: Subject, state: TicketState | None) -> "TicketCredential":
        """Return the aggregate in the given state; None: the user never had a ticket."""
        return cls.at(state.stream if state else stream_id(*subject), state)

    def create(
        self,
        subject: Subject,
        *,
        ext_id: str,
        policy_ext_id: str,
        state: State,
        ticket_hash: str,
        validity: Validity,
        daily_limit: int,
        by: Attribution,
    ) -> None:
        """Create the credential, possibly again after a deletion. Raises DailyLimitReached."""
        count = self._deliveries(by).with_next(daily_limit)
        self.emit(
            events.TicketCreated,
            client_ext_id=subject.client_ext_id,
            user_ext_id=subject.user_ext_id,
            ext_id=ext_id,
            policy_ext_id=policy_ext_id,
            state_name=state,
            ticket_hash=ticket_hash,
            valid_from=validity.start,
            valid_to=validity.end,
            daily_delivery_count=count,
            by=by,
        )

    def has_row(self, row_digest: str) -> bool:
        """Return whether this row was the last one that was imported, also if the credential has changed since."""
        imported = self.state.imported if self.state else UNSET
        return imported is not UNSET and imported.row_digest == row_digest

    def check_importable(self, ext_id: str) -> None:
        """Raise ImportConflict unless the user never had a credential, or has an imported one that was not changed here."""
        current = self.state
        if current is None:
            return
        if current.deleted:
            raise ImportConflict("The user had a ticket here, which was deleted. Create a new one.")
        if not current.imported:
            raise ImportConflict("The user has a ticket that this service created.")
        if current.imported.version != current.version:
            raise ImportConflict(
                f"The ticket was imported and then changed here: its version is {current.version}."
            )
        if current.ext_id != ext_id:
            raise ImportConflict(f"The ticket was imported with the extId {current.ext_id!r}.")

    def import_(
        self, subject: Subject, ticket: ImportedTicket, policy: TicketPolicy, *, by: Attribution
    ) -> None:
        """Take over the credential of another system. A due warning of its expiry is not recorded. Raises ImportConflict."""
        self.check_importable(ticket.ext_id)
        self.emit(
            events.TicketImported,
            client_ext_id=subject.client_ext_id,
            user_ext_id=subject.user_ext_id,
            **asdict(ticket),
            expiry_warned=_warning_due(policy, ticket.valid_to) <= by.timestamp,
            by=by,
        )

    def regenerate(
        self,
        policy: TicketPolicy,
        mint: Callable[[], tuple[ClearTicket, str]],
        *,
        daily_limit: int,
        by: Attribution,
        job: str | UnsetType = UNSET,
    ) -> ClearTicket:
        """Replace the ticket: the former one is no longer accepted, locks are removed, reset_count is incremented.

        mint: returns the new ticket and its hash, which may be slow, so it is called after the checks
        (docs/http-contract.md). job: the bulk job. Returns the new ticket. Raises CredentialDisabled, CredentialArchived,
        DailyLimitReached, and the errors of mint.
        """
        count = self.check_regenerate(daily_limit=daily_limit, by=by)
        current = self.current
        ticket, ticket_hash = mint()
        validity = Validity.by(policy, by.timestamp)
        self.emit(
            events.TicketRegenerated,
            ticket_hash=ticket_hash,
            reset_count=current.reset_count + 1,
            valid_from=validity.start,
            valid_to=validity.end,
            daily_delivery_count=count,
            job=job,
            by=by,
        )
        return ticket

    def check_regenerate(self, *, daily_limit: int, by: Attribution) -> int:
        """Return the number of the user's tickets of the day, including the next one.

        Raises CredentialDisabled, CredentialArchived, DailyLimitReached.
        """
        current = self.current
        if current.state_name is State.DISABLED:
            raise CredentialDisabled("The ticket is disabled. Activate it before you reset it.")
        if current.state_name not in states.REGENERATE.sources:
            raise CredentialArchived(
                "The ticket is archived and cannot be reset. Delete it and create a new one."
            )
        return self._deliveries(by).with_next(daily_limit)

    def change_state(self, state: State, *, by: Attribution) -> None:
        """Activate, disable or archive the credential; the wrong tickets in a row remain counted.

        A disabled credential with 100 of them becomes fail-locked instead of active, so that it can be reset. Raises
        CredentialFinal, CredentialLocked.
        """
        current = self._changeable_state()
        if state is State.ACTIVE and is_guessed_out(current.failed_login_count):
            if current.state_name is not State.DISABLED:
                raise CredentialLocked(
                    f"{MAX_FAILURES} wrong tickets in a row were presented (NIST SP 800-63B-4). Reset the ticket."
                )
            state = State.FAIL_LOCKED
        if state is not current.state_at(by.timestamp) or state is not current.state_name:
            misses = current.failed_login_count
            self.emit(events.TicketStateChanged, state_name=state, failed_login_count=misses, by=by)

    def assign_policy(self, policy_ext_id: str, *, by: Attribution) -> None:
        """Assign another policy, which applies from the next operation. Raises CredentialFinal."""
        if policy_ext_id != self._changeable_state().policy_ext_id:
            self.emit(events.TicketPolicyAssigned, policy_ext_id=policy_ext_id, by=by)

    def change_validity(self, validity: Validity, *, by: Attribution) -> None:
        """Change the validity of the current ticket. Raises CredentialFinal."""
        current = self._changeable_state()
        if validity != Validity(current.valid_from, current.valid_to):
            self.emit(events.TicketValidityChanged, valid_from=validity.start, valid_to=validity.end, by=by)

    def comment(self, *, by: Attribution) -> None:
        """Replace the modification comment by the reason. Raises CredentialFinal."""
        if by.reason != self._changeable_state().modification_comment:
            self.emit(events.TicketCommented, by=by)

    def rejection(self, policy: TicketPolicy, now: datetime) -> Verdict | None:
        """Return why even the correct ticket would be rejected now; None: it would be accepted."""
        current, name = self.current, self.current.state_at(now)
        if name in (State.DISABLED, State.ARCHIVED):
            return Verdict.DISABLED
        if name is not State.ACTIVE or is_guessed_out(current.failed_login_count):
            return Verdict.LOCKED
        if now < current.valid_from:
            return Verdict.NOT_YET_VALID
        if now >= current.valid_to:
            return Verdict.EXPIRED
        return Verdict.USED if current.successful_login_count > 0 and not policy.reusable else None

    def verify(self, policy: TicketPolicy, *, matches: bool, by: Attribution) -> Verdict | None:
        """Record the verification of a presented ticket; return why it is rejected, or None if it is accepted.

        A rejection emits an event only for a wrong ticket, so requests cannot grow the stream of a locked credential.
        """
        verdict = self.rejection(policy, by.timestamp)
        if verdict is not None:
            return verdict
        if matches:
            self.emit(events.TicketVerified, by=by)
            return None
        failures = self.current.failed_login_count + 1
        name, locked_until = state_after_wrong_ticket(policy, failures, by.timestamp)
        self.emit(events.WrongTicketPresented, state_name=name, locked_until=locked_until, by=by)
        return Verdict.WRONG_TICKET

    def upgrade_hash(self, ticket_hash: str, *, by: Attribution) -> None:
        """Replace the hash of the current ticket."""
        self.emit(events.TicketHashUpgraded, ticket_hash=ticket_hash, by=by)

    def note_expiry(self, policy: TicketPolicy, *, by: Attribution) -> None:
        """Record that the ticket is close to expiration or has expired: each once per ticket, unless disabled or archived."""
        current, now = self.current, by.timestamp
        if current.expiry_recorded or current.state_name in (State.DISABLED, State.ARCHIVED):
            return
        if now >= current.valid_to:
            self.emit(events.TicketExpired, valid_to=current.valid_to, by=by)
        elif not current.expiry_warned and _warning_due(policy, current.valid_to) <= now:
            self.emit(events.TicketExpirySoon, valid_to=current.valid_to, by=by)

    def delete(self, *, by: Attribution) -> None:
        """Delete the credential; its history is retained."""
        self.emit(events.TicketDeleted, by=by)

    def emit(self, event: type[Event], *, by: Attribution, **fields: Any) -> None:
        """Trigger the next event, with the tickets of the day."""
        if "daily_delivery_count" not in fields:
            fields["daily_delivery_count"] = self._deliveries(by).tickets
        super().emit(event, by=by, **fields)

    def _deliveries(self, by: Attribution) -> DailyCount:
        now = by.timestamp
        return self.state.deliveries_at(now) if self.state else DailyCount.at(now, None, 0)

    def _changeable_state(self) -> TicketState:
        """Return the current state. Raises CredentialFinal if the credential is archived."""
        if self.current.state_name is State.ARCHIVED:
            raise CredentialFinal(
                "The ticket is archived and cannot be changed. Delete it and create a new one."
            )
        return self.current


def _warning_due(policy: TicketPolicy, end: datetime) -> datetime:
    """Return when TicketExpirySoon becomes due: the end of the validity if the policy has no threshold."""
    days = policy.close_to_expiration_threshold
    try:
        return end if days == OFF else end - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
