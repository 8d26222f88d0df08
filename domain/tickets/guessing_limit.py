"""The limits on wrong tickets in a row (NIST SP 800-63B-4)."""

from datetime import datetime

from domain.policies.policy import MAX_FAILURES, OFF, TicketPolicy
from domain.shared.errors import Refusal
from domain.tickets.states import State


class CredentialLocked(Refusal):
    """After 100 wrong tickets in a row a credential cannot be activated, only reset."""

    CODE = "CredentialLocked"


def is_guessed_out(failures: int) -> bool:
    """Return whether only a reset makes the ticket acceptable again, for any policy and any number of activations."""
    return failures >= MAX_FAILURES


def state_after_wrong_ticket(
    policy: TicketPolicy, failures: int, now: datetime
) -> tuple[State, datetime | None]:
    """Return the state, and the end of a temporary lock. failures: the wrong tickets in a row, including this one."""
    limit = MAX_FAILURES if policy.max_cred_failure_count == OFF else policy.max_cred_failure_count
    if failures >= min(limit, MAX_FAILURES):
        return State.FAIL_LOCKED, None
    if policy.tmp_locking_threshold != OFF and failures >= policy.tmp_locking_threshold:
        return State.TMP_LOCKED, now + policy.lock_duration
    return State.ACTIVE, None
