"""The command for subscriptions: push to them."""

from collections.abc import Callable
from dataclasses import dataclass

import typer


@dataclass(frozen=True)
class SubscriptionActions:
    """The actions of the commands; interface/composition wires it."""

    push: Callable[[], None]


def add_commands(cli: typer.Typer, actions: SubscriptionActions) -> None:
    """Add the command."""

    @cli.command()
    def push() -> None:
        """Push to subscriptions in a separate process, until a stop signal; one process is elected."""
        actions.push()
