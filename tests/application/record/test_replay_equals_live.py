"""State machine test: after any sequence of operations, the read row equals the replay of the events."""

import contextlib
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from application.tickets.records import TicketExists
from domain.policies.policy import TicketPolicy
from domain.shared.errors import Refusal
from domain.tickets.evolution import fold
from domain.tickets.state import TicketState
from domain.tickets.states import SETTABLE, State
from domain.tickets.ticket import ClearTicket, verify_ticket
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT
from tests.support.service import Service
from tests.support.stores import history_of, states_of


class LifeOfATicket(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory(prefix="tickets-life-")
        self.store = SqliteStore(Path(self.directory.name) / "tickets.db", TABLES)
        self.service = Service(self.store)
        self.service.register()
        self.dead: list[ClearTicket] = []
        self.reset_count = 0

    def teardown(self) -> None:
        self.service.commands.close()
        self.store.close()
        self.directory.cleanup()

    def state(self) -> TicketState | None:
        return states_of(self.store, [SUBJECT]).get(SUBJECT)

    def has_ticket(self) -> bool:
        row = self.state()
        return row is not None and not row.deleted

    @precondition(lambda self: not self.has_ticket())
    @rule(state=st.sampled_from([State.ACTIVE, State.ACTIVE, State.DISABLED, State.ARCHIVED]))
    def create(self, state: State) -> None:
        self.service.create(state=state)
        self.dead = [ticket for _, ticket in self.service.sealer.sealed[:-1]]
        self.reset_count = 0

    @rule(
        state=st.none() | st.sampled_from(SETTABLE),
        comment=st.none() | st.text(max_size=3),
        days=st.integers(-9, 9),
    )
    def modify(self, state: State | None, comment: str | None, days: int) -> None:
        with contextlib.suppress(Refusal):
            self.service.modify(
                state=state, reason=comment, valid_to=self.service.clock() + timedelta(days=days)
            )

    @rule(reusable=st.booleans(), threshold=st.sampled_from([-1, 1, 2]))
    def define(self, *, reusable: bool, threshold: int) -> None:
        self.service.define(
            "default", policy=TicketPolicy(reusable=reusable, tmp_locking_threshold=threshold)
        )

    @rule(right=st.booleans())
    def verify(self, *, right: bool) -> None:
        tickets = [ticket for _, ticket in self.service.sealer.sealed]
        with contextlib.suppress(Refusal):
            answer = self.service.verify(tickets[-1] if right and tickets else "wrong")
            assert right or not answer["verified"]

    @rule()
    def delete(self) -> None:
        with contextlib.suppress(Refusal):
            self.service.delete()

    @rule()
    def create_again(self) -> None:
        if self.has_ticket():
            try:
                self.service.create()
            except TicketExists:
                return
            raise AssertionError("a second ticket")

    @rule(comment=st.none() | st.text(max_size=20))
    def regenerate(self, comment: str | None) -> None:
        minted = len(self.service.sealer.sealed)
        try:
            self.service.regenerate(reason=comment)
        except Refusal:
            assert len(self.service.sealer.sealed) == minted
            return
        self.dead = [ticket for _, ticket in self.service.sealer.sealed[:-1]]

    @rule(seconds=st.integers(0, 10**6))
    def time_passes(self, seconds: int) -> None:
        self.service.clock.advance(timedelta(seconds=seconds))

    @invariant()
    def the_stored_state_equals_the_replayed_state(self) -> None:
        assert fold(None, history_of(self.store, SUBJECT)) == self.state()

    @invariant()
    def an_inactive_ticket_is_never_accepted(self) -> None:
        if row := self.state():
            assert not any(verify_ticket(ticket, row.ticket_hash) for ticket in self.dead)
            assert verify_ticket(self.service.sealer.sealed[-1][1], row.ticket_hash)

    @invariant()
    def counters_never_decrease_and_versions_have_no_gaps(self) -> None:
        if row := self.state():
            assert row.reset_count >= self.reset_count
            self.reset_count = row.reset_count
            assert [e.originator_version for e in history_of(self.store, SUBJECT)] == list(
                range(1, row.version + 1)
            )


LifeOfATicket.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_replay_equals_live = LifeOfATicket.TestCase
