"""The application on any store, with all ports controlled by the test."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from application.delivery.record_delivery import RetryDeliveries
from application.policies.define_policy import DefinePolicy
from application.tickets.create_ticket import CreateTicket
from application.tickets.erase_user import EraseUser
from application.tickets.minting import SlowWork
from application.tickets.modify_ticket import DeleteTicket, ModifyTicket
from application.tickets.regenerate_ticket import RegenerateTicket
from application.tickets.verify_ticket import VerifyTicket
from application.transaction.command import Answer, Command
from application.transaction.group_commit import Background, GroupCommit
from application.users.register_user import RegisterUser
from domain.policies.policy import TicketPolicy
from domain.tickets.ticket import ClearTicket
from domain.users.recipient import Contact
from interface.composition.register import HandlerContext, handlers
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.settings import Settings
from tests.support.fakes import SUBJECT, TRACEPARENT, FakeClock, FakeRandomness, FakeSealer, FakeSlowHash

AnyStore = SqliteStore | PostgresStore
_ids = itertools.count()


@dataclass
class Service:
    """Runs commands and waits for their responses. max_daily_deliveries: the setting; -1: no limit."""

    store: AnyStore
    clock: FakeClock = field(default_factory=FakeClock)
    randomness: FakeRandomness = field(default_factory=FakeRandomness)
    sealer: FakeSealer = field(default_factory=FakeSealer)
    max_daily_deliveries: int = -1

    def __post_init__(self) -> None:
        settings = Settings(push_private_hosts="127.0.0.1", max_daily_deliveries=self.max_daily_deliveries)
        context = HandlerContext(self.clock, self.randomness, self.sealer, settings)
        self.group_commit = GroupCommit(self.store, handlers(context), self.randomness)
        self.commands = Background(self.group_commit)

    def execute(self, command: Command) -> Answer:
        """Run a command, including its slow work."""
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

    def retry(self, **changes: Any) -> Answer:
        return self.execute(command(RetryDeliveries, **changes))


@contextmanager
def service_over(store: AnyStore, *, max_daily_deliveries: int = -1) -> Iterator[Service]:
    """Yield the service; it stops, but the store stays open."""
    service = Service(store, max_daily_deliveries=max_daily_deliveries)
    try:
        yield service
    finally:
        service.commands.close()


def command(kind: type[Command], **changes: Any) -> Any:
    """Return a sample command with these changes; those of a user's contact are given by themselves."""
    if kind is RegisterUser:
        names = [part.name for part in fields(Contact) if part.name in changes]
        changes["contact"] = Contact(**{name: changes.pop(name) for name in names})
    terms: dict[str, Any] = {
        "subject": SUBJECT,
        "actor": "helpdesk",
        "correlation_id": TRACEPARENT,
        "command_id": f"command-{next(_ids)}",
        "request_digest": "digest",
    }
    return kind(**{**terms, **changes})
