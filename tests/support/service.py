"""The application wired over any store, with every port in the test's hands."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from application.command import Answer, Command
from application.create_ticket import CreateTicket, create_ticket
from application.group_commit import GroupCommit
from application.ports import Store
from application.regenerate_ticket import RegenerateTicket, regenerate_ticket
from application.register_user import RegisterUser, register_user
from tests.support.fakes import SUBJECT, TRACEPARENT, FakeClock, FakeRandomness, FakeSealer

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
        self.commands = GroupCommit(
            self.store,
            {
                CreateTicket: partial(create_ticket, **minting),  # type: ignore[arg-type]
                RegenerateTicket: partial(regenerate_ticket, **minting),  # type: ignore[arg-type]
                RegisterUser: partial(register_user, clock=self.clock),
            },
        )

    def register(self, **changes: Any) -> Answer:
        return self.commands.execute(command(RegisterUser, **{"email": "user@example.com", **changes}))

    def create(self, **changes: Any) -> Answer:
        return self.commands.execute(command(CreateTicket, **changes))

    def regenerate(self, **changes: Any) -> Answer:
        return self.commands.execute(command(RegenerateTicket, **changes))


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
