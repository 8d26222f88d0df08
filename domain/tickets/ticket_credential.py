"""The aggregate: one ticket credential per user and client. It decides; domain/tickets/state.py evolves."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from domain.policies.policy import OFF, TicketPolicy
from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.errors import CredentialArchived, CredentialDisabled, CredentialFinal
from domain.shared.subject import Subject
from domain.tickets import events, state, states
from domain.tickets.state import TicketState
from domain.tickets.states import State
from domain.tickets.validity import Validity

_STREAMS = UUID("6f5fd1b7-2f0b-5a52-8c1e-5d3b1d1f3a60")


class Verdict(StrEnum):
    """Why a ticket is not verified, spelt as in docs/http-contract.md."""

    WRONG_TICKET = "wrong-ticket"
    LOCKED = "locked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    USED = "used"
    DISABLED = "disabled"


def stream_id(client_ext_id: str, user_ext_id: str) -> UUID:
    """Return the id of the one stream of this user and client.

    That a user has one ticket is therefore the store's own uniqueness rule. Ids hold no control characters,
    so the separator keeps ("a", "bc") and ("ab", "c") apart.
    """
    return uuid5(_STREAMS, f"{client_ext_id}\x1f{user_ext_id}")


class TicketCredential(Aggregate[TicketState]):
    """A ticket credential. Each public method checks, then emits at most one event."""

    TOPIC = events.AGGREGATE
    evolve = staticmethod(state.evolve)

    @classmethod
    def of(cls, subject: Subject, state: TicketState | None) -> "TicketCredential":
        """Return the credential of a user in its state; None where there never was one."""
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
        by: Attribution,
    ) -> None:
        """Give the user a first ticket; after a deletion in the same stream."""
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
            by=by,
        )

    def regenerate(self, ticket_hash: str, validity: Validity, *, by: Attribution) -> None:
        """Replace the ticket by a new one: the old stops verifying, a lock is lifted, the count rises by one.

        Raises CredentialDisabled or CredentialArchived: a reset revives neither (docs/http-contract.md).
        """
        current = self.current
        if current.state_name is State.DISABLED:
            raise CredentialDisabled("The ticket is disabled. Activate it before you reset it.")
        if current.state_name not in states.REGENERATE.sources:
            raise CredentialArchived(
                "The ticket is archived, which is final. Delete it and create a new one."
            )
        self.emit(
            events.TicketRegenerated,
            ticket_hash=ticket_hash,
            reset_count=current.reset_count + 1,
            valid_from=validity.start,
            valid_to=validity.end,
            by=by,
        )

    def change_state(self, state: State, *, by: Attribution) -> None:
        """Activate, disable or archive. Raises CredentialFinal."""
        current = self._changeable_state()
        if state is not current.state_at(by.timestamp) or state is not current.state_name:
            self.emit(events.TicketStateChanged, state_name=state, by=by)

    def assign_policy(self, policy_ext_id: str, *, by: Attribution) -> None:
        """Let another policy hold from the next time it is applied. Raises CredentialFinal."""
        if policy_ext_id != self._changeable_state().policy_ext_id:
            self.emit(events.TicketPolicyAssigned, policy_ext_id=policy_ext_id, by=by)

    def change_validity(self, validity: Validity, *, by: Attribution) -> None:
        """Change the validity of the same ticket. Raises CredentialFinal."""
        current = self._changeable_state()
        if validity != Validity(current.valid_from, current.valid_to):
            self.emit(events.TicketValidityChanged, valid_from=validity.start, valid_to=validity.end, by=by)

    def comment(self, *, by: Attribution) -> None:
        """Write another comment, the reason. Raises CredentialFinal."""
        if by.reason != self._changeable_state().modification_comment:
            self.emit(events.TicketCommented, by=by)

    def rejection(self, policy: TicketPolicy, now: datetime) -> Verdict | None:
        """Return why no ticket at all would verify now; None where the right one would."""
        current, name = self.current, self.current.state_at(now)
        for verdict, holds in (
            (Verdict.DISABLED, name in (State.DISABLED, State.ARCHIVED)),
            (Verdict.LOCKED, name not in states.VERIFY.sources or name is State.TMP_LOCKED),
            (Verdict.NOT_YET_VALID, now < current.valid_from),
            (Verdict.EXPIRED, now >= current.valid_to),
            (Verdict.USED, current.successful_login_count > 0 and not policy.reusable),
        ):
            if holds:
                return verdict
        return None

    def verify(self, policy: TicketPolicy, *, matches: bool, by: Attribution) -> Verdict | None:
        """Count a ticket that was presented, and return why it is not verified; None where it is.

        Only a wrong ticket counts. A refusal for any other reason emits nothing, so nobody can grow the
        history of a locked credential.
        """
        verdict = self.rejection(policy, by.timestamp)
        if verdict is not None:
            return verdict
        if matches:
            self.emit(events.TicketVerified, by=by)
            return None
        name, locked_until = self._state_after_wrong_ticket(policy, by.timestamp)
        self.emit(events.WrongTicketPresented, state_name=name, locked_until=locked_until, by=by)
        return Verdict.WRONG_TICKET

    def upgrade_hash(self, ticket_hash: str, *, by: Attribution) -> None:
        """Store the same ticket under another hash."""
        self.emit(events.TicketHashUpgraded, ticket_hash=ticket_hash, by=by)

    def note_expiry(self, policy: TicketPolicy, *, by: Attribution) -> None:
        """Record that the ticket ends soon, or has ended; each once per ticket, and for a live credential only."""
        current, now = self.current, by.timestamp
        if current.expiry_recorded or current.state_name in (State.DISABLED, State.ARCHIVED):
            return
        if now >= current.valid_to:
            self.emit(events.TicketExpired, valid_to=current.valid_to, by=by)
        elif not current.expiry_warned and self._warning_due(policy) <= now:
            self.emit(events.TicketExpirySoon, valid_to=current.valid_to, by=by)

    def delete(self, *, by: Attribution) -> None:
        """Delete the credential; its history stays."""
        self.emit(events.TicketDeleted, by=by)

    def _warning_due(self, policy: TicketPolicy) -> datetime:
        """Return from when TicketExpirySoon is due; the end of validity where the policy has no threshold."""
        days, end = policy.close_to_expiration_threshold, self.current.valid_to
        return end if days == OFF else end - timedelta(days=days)

    def _state_after_wrong_ticket(self, policy: TicketPolicy, now: datetime) -> tuple[State, datetime | None]:
        misses = self.current.failed_login_count + 1
        if policy.max_cred_failure_count != OFF and misses >= policy.max_cred_failure_count:
            return State.FAIL_LOCKED, None
        if policy.tmp_locking_threshold != OFF and misses >= policy.tmp_locking_threshold:
            return State.TMP_LOCKED, now + policy.lock_duration
        return State.ACTIVE, None

    def _changeable_state(self) -> TicketState:
        """Return the state of a credential that may be changed. Raises CredentialFinal."""
        if self.current.state_name is State.ARCHIVED:
            raise CredentialFinal("The ticket is archived, which is final. It can only be deleted.")
        return self.current
