"""What the handlers of commands need of the world."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from application.shared.ports import Clock, Randomness, Sealer
from application.transaction.command import Command
from application.transaction.group_commit import Handler

Handlers = Mapping[type[Command], Handler]


@dataclass(frozen=True)
class Tools:
    """The ports that handlers need. private_hosts: hosts to which subscriptions may be sent by plain HTTP."""

    clock: Clock
    randomness: Randomness
    sealer: Sealer
    private_hosts: Collection[str]
