"""The commands for keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from application.operations.reseal import ResealReport
from interface.cli.core.messages import counting, fail, print_line


@dataclass(frozen=True)
class KeyActions:
    """What the commands do; interface/composition wires it."""

    public_keys: Callable[[], list[tuple[str, str]]]
    rotate: Callable[[], str]
    rotate_outbox: Callable[[Callable[[int], None]], ResealReport]
    reseal: Callable[[Callable[[int], None]], ResealReport]


def add_commands(cli: typer.Typer, actions: KeyActions) -> None:
    """Add the commands."""
    keys = typer.Typer(
        help="The keys that sign checkpoints and evidence, and those that seal tickets.", no_args_is_help=True
    )
    cli.add_typer(keys, name="keys")

    @keys.command()
    def public(
        every: Annotated[bool, typer.Option("--all", help="The older ones, too.")] = False,
    ) -> None:
        """Print the verifier key in force."""
        found = actions.public_keys()
        for _, key in found if every else found[:1]:
            print_line(key)

    @keys.command()
    def rotate(
        outbox: Annotated[
            bool,
            typer.Option("--outbox", help="The key of the outbox instead: seal what waits with a new one."),
        ] = False,
    ) -> None:
        """Make a new key, in force from now on, and print its verifier key. The one before signs, too, for a while.

        With --outbox: the one before opens, too, until the next rotation. For one host whose key is a file that the
        service may write; otherwise see `tickets keys reseal`.
        """
        if outbox:
            _seal_anew(actions.rotate_outbox)
        else:
            print_line(actions.rotate())

    @keys.command()
    def reseal() -> None:
        """Seal what waits with the key of the outbox that stands first now, and make none.

        For several hosts, and keys from the environment, a command, or a file that is only read: first give every process
        the new key behind the one in force, then before it, then run this once, and then take the old one away.
        """
        _seal_anew(actions.reseal)


def _seal_anew(seal: Callable[[Callable[[int], None]], ResealReport]) -> None:
    with counting("sealing anew") as tell_progress:
        report = seal(lambda done: tell_progress(done, done))
    Console().print(
        f"{_count(report.tickets, 'ticket')} and {_count(report.subscriptions, 'subscription')} sealed anew.",
        highlight=False,
    )
    if report.lost_tickets or report.lost_subscriptions:
        fail(
            f"{_count(report.lost_tickets, 'ticket')} and {_count(report.lost_subscriptions, 'subscription')} were sealed"
            " with a key that is not there, and nothing else is lost with it: bring it back, or reset the tickets"
            " (GET …/ticket/deliveries names them) and define the subscriptions anew"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
