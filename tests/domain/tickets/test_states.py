"""Any sequence of operations makes only the transitions of the table."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.policies.policy import MAX_FAILURES, OFF, TicketPolicy
from domain.shared.attribution import Attribution
from domain.shared.errors import Refusal
from domain.tickets import states
from domain.tickets.imported_ticket import ImportedTicket
from domain.tickets.states import SETTABLE, State, Transition
from domain.tickets.ticket import ClearTicket
from domain.tickets.ticket_credential import TicketCredential
from domain.tickets.validity import Validity
from tests.support.fakes import NOW, SUBJECT, attribution
from tests.support.server import ROOT

ACTIONS = {
    states.REGENERATE: "regenerate",
    states.VERIFY: "right",
    states.WRONG_TICKET: "wrong",
    states.ACTIVATE: State.ACTIVE,
    states.ACTIVATE_LOCKED: "activate",
    states.DISABLE: State.DISABLED,
    states.ARCHIVE: State.ARCHIVED,
}
POLICIES = [
    TicketPolicy(reusable=True),
    TicketPolicy(reusable=True, tmp_locking_threshold=1, max_cred_failure_count=-1),
    TicketPolicy(reusable=True, tmp_locking_threshold=-1, max_cred_failure_count=2),
]


@given(
    st.sampled_from(State),
    st.sampled_from(POLICIES),
    st.lists(st.sampled_from([*ACTIONS, states.UNLOCK]), max_size=25),
)
def test_every_step_is_a_transition_of_the_table(
    first: State, policy: TicketPolicy, steps: list[Transition]
) -> None:
    now = NOW
    credential = created(first) if first in SETTABLE else imported(first)
    for chosen in steps:
        step = chosen
        by = attribution(timestamp=now)
        before, version = credential.current.state_at(now), credential.version
        stored = credential.current.state_name
        if step is states.ACTIVATE_LOCKED and before in step.sources:
            guessed_out = replace(credential.current, failed_login_count=MAX_FAILURES)
            credential = TicketCredential.of(SUBJECT, guessed_out)
        if step is states.ACTIVATE and credential.current.failed_login_count >= MAX_FAILURES:
            step = states.ACTIVATE_LOCKED
        try:
            if step is states.UNLOCK:
                now += timedelta(minutes=2)
            else:
                act(credential, policy, step, by)
        except Refusal:
            assert before not in step.sources
        after = credential.current.state_at(now)
        happened = credential.version != version or after is not before
        if happened:
            assert before in step.sources or stored in step.sources
            assert after in step.targets


def created(state: State) -> TicketCredential:
    credential = TicketCredential.of(SUBJECT, None)
    credential.create(
        SUBJECT,
        ext_id="e",
        policy_ext_id="p",
        state=state,
        ticket_hash="h",
        validity=Validity(NOW, NOW + timedelta(days=365)),
        daily_limit=OFF,
        by=attribution(),
    )
    return credential


def imported(state: State) -> TicketCredential:
    credential = TicketCredential.of(SUBJECT, None)
    ticket = ImportedTicket(
        ext_id="e",
        policy_ext_id="p",
        state_name=state,
        state_change_reason="initialized",
        ticket_hash="h",
        valid_from=NOW,
        valid_to=NOW + timedelta(days=365),
        created=NOW,
        last_successful_login_date=None,
        successful_login_count=0,
        last_failed_login_date=None,
        failed_login_count=0,
        failure_count=0,
        success_count=0,
        reset_count=0,
        locked_until=NOW + timedelta(minutes=1) if state is State.TMP_LOCKED else None,
        source="old",
        source_version=None,
        row_digest="d",
    )
    credential.import_(SUBJECT, ticket, TicketPolicy(), by=attribution())
    return credential


def act(credential: TicketCredential, policy: TicketPolicy, step: Transition, by: Attribution) -> None:
    match ACTIONS[step]:
        case "regenerate":
            credential.regenerate(policy, lambda: (ClearTicket("t"), "h"), daily_limit=OFF, by=by)
        case "right" | "wrong":
            credential.verify(policy, matches=ACTIONS[step] == "right", by=by)
        case "activate" if credential.current.failed_login_count >= MAX_FAILURES:
            credential.change_state(State.ACTIVE, by=by)
        case State() as state:
            credential.change_state(state, by=by)


def test_the_diagram_in_the_docs_matches_the_table() -> None:
    page = (ROOT / "docs" / "states.md").read_text()

    assert f"```mermaid\n{states.mermaid()}\n```" in page


def test_the_table_in_the_docs_is_the_table() -> None:
    page = (ROOT / "docs" / "states.md").read_text()
    rows = [
        f"| {step.action} | {reached(step.sources)} | {reached(step.targets)} |\n"
        for step in states.TRANSITIONS
    ]

    assert "".join(rows) in page


def reached(states_of: tuple[State | None, ...]) -> str:
    """Return the states that a ticket can have, by their names."""
    names = ["(none)" if state is None else f"`{state}`" for state in states_of]
    return ", ".join(names)
