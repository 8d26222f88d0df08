"""The application wired over any store, with every port in the test's hands."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from application.delivery.record_delivery import (
    RecordDelivery,
    RetryDeliveries,
    record_delivery,
    retry_deliveries,
)
from application.policies.define_policy import DefinePolicy, define_policy
from application.record.access_log import NoteAccess, note_access
from application.subscriptions.subscribe import (
    ChangeSubscriptionStatus,
    DefineSubscription,
    DeleteSubscription,
    ReplaySubscription,
    change_subscription_status,
    define_subscription,
    delete_subscription,
    replay_subscription,
)
from application.tickets.create_ticket import CreateTicket, create_ticket
from application.tickets.expire_tickets import NoteExpiry, note_expiry
from application.tickets.minting import SlowWork
from application.tickets.modify_ticket import DeleteTicket, ModifyTicket, delete_ticket, modify_ticket
from application.tickets.regenerate_ticket import RegenerateTicket, regenerate_ticket
from application.tickets.verify_ticket import VerifyTicket, verify_ticket
from application.transaction.command import Answer, Command
from application.transaction.group_commit import Background, GroupCommit
from application.transaction.ports import Store
from application.users.erase_user import EraseUser, erase_user
from application.users.register_user import RegisterUser, register_user
from domain.policies.policy import TicketPolicy
from domain.tickets.ticket import ClearTicket
from tests.support.fakes import SUBJECT, TRACEPARENT, FakeClock, FakeRandomness, FakeSealer, FakeSlowHash

_ids = itertools.count()


@dataclass
class Service:
    """Runs commands and waits for their answers."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)
    randomness: FakeRandomness = field(default_factory=FakeRandomness)
    sealer: FakeSealer = field(default_factory=FakeSealer)

    def __post_init__(self) -> None:
        minting = {"clock": self.clock, "randomness": self.randomness, "sealer": self.sealer}
        self.group_commit = GroupCommit(
            self.store,
            {
                CreateTicket: partial(create_ticket, **minting),  # type: ignore[arg-type]
                RegenerateTicket: partial(regenerate_ticket, **minting),  # type: ignore[arg-type]
                ModifyTicket: partial(modify_ticket, clock=self.clock),
                DeleteTicket: partial(delete_ticket, clock=self.clock),
                VerifyTicket: partial(verify_ticket, clock=self.clock, randomness=self.randomness),
                NoteExpiry: partial(note_expiry, clock=self.clock),
                EraseUser: partial(erase_user, clock=self.clock),
                DefinePolicy: partial(define_policy, clock=self.clock),
                RegisterUser: partial(register_user, clock=self.clock),
                NoteAccess: partial(note_access, clock=self.clock),
                RecordDelivery: partial(record_delivery, clock=self.clock),
                RetryDeliveries: retry_deliveries,
                DefineSubscription: partial(
                    define_subscription,
                    clock=self.clock,
                    sealer=self.sealer,
                    private_hosts={"127.0.0.1"},
                ),
                DeleteSubscription: partial(delete_subscription, clock=self.clock, sealer=self.sealer),
                ReplaySubscription: partial(replay_subscription, clock=self.clock),
                ChangeSubscriptionStatus: partial(change_subscription_status, clock=self.clock),
            },
        )
        self.commands = Background(self.group_commit)

    def execute(self, command: Command) -> Answer:
        """Run a command, with its slow work if it has any."""
        while True:
            try:
                return self.commands.execute(command)
            except SlowWork as work:
                command = work.finish(FakeSlowHash())

    def modify(self, **changes: Any) -> Answer:
        return self.execute(command(ModifyTicket, **changes))

    def delete(self, **changes: Any) -> Answer:
        return self.execute(command(DeleteTicket, **changes))

    def verify(self, ticket: ClearTicket | str, **changes: Any) -> dict[str, Any]:
        clear = ClearTicket(ticket) if isinstance(ticket, str) else ticket
        answer: dict[str, Any] = json.loads(self.execute(command(VerifyTicket, ticket=clear, **changes)).body)
        return answer

    def define(self, policy_ext_id: str, **changes: Any) -> Answer:
        return self.execute(
            command(DefinePolicy, policy_ext_id=policy_ext_id, **{"policy": TicketPolicy(), **changes})
        )

    def newest(self) -> ClearTicket:
        """Return the ticket that was minted last."""
        return ClearTicket(self.sealer.sealed[-1][1].reveal())

    def erase(self, **changes: Any) -> Answer:
        return self.execute(command(EraseUser, **changes))

    def register(self, **changes: Any) -> Answer:
        return self.commands.execute(command(RegisterUser, **{"email": "user@example.com", **changes}))

    def create(self, **changes: Any) -> Answer:
        return self.execute(command(CreateTicket, **changes))

    def regenerate(self, **changes: Any) -> Answer:
        return self.execute(command(RegenerateTicket, **changes))


@contextmanager
def service_over(store: Store) -> Iterator[Service]:
    """Yield the service; it stops, but the store stays open."""
    service = Service(store)
    try:
        yield service
    finally:
        service.commands.close()


def command(kind: type[Command], **changes: Any) -> Any:
    """Return a command, made up but for the changes."""
    terms: dict[str, Any] = {
        "subject": SUBJECT,
        "actor": "helpdesk",
        "correlation_id": TRACEPARENT,
        "command_id": f"command-{next(_ids)}",
        "request_digest": "digest",
    }
    return kind(**{**terms, **changes})
