"""The commands for keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from application.operations.reseal import ResealReport
from application.record.checkpoint import PublishedKey
from application.shared.wire import utc_date
from interface.cli.core.messages import counting, fail, print_line


@dataclass(frozen=True)
class KeyActions:
    """The actions of the commands; interface/composition creates it."""

    public_keys: Callable[[], list[PublishedKey]]
    rotate: Callable[[], str]
    rotate_outbox: Callable[[Callable[[int], None]], ResealReport]
    reseal: Callable[[Callable[[int], None]], ResealReport]


def add_commands(cli: typer.Typer, actions: KeyActions) -> None:
    """Add the commands."""
    keys = typer.Typer(
        help="The keys that sign checkpoints and evidence, and those that encrypt queued tickets.",
        no_args_is_help=True,
    )
    cli.add_typer(keys, name="keys")

    @keys.command()
    def public(
        every: Annotated[bool, typer.Option("--all", help="Print the previous keys, too.")] = False,
        details: Annotated[
            bool, typer.Option("--details", help="Print the validity and the fingerprint of each key, too.")
        ] = False,
    ) -> None:
        """Print the current verifier key. With --all, the output is a key file that also verifies the signatures of earlier keys."""
        found = actions.public_keys()
        for key in found if every else found[:1]:
            print_line(key.verifier_key)
            if details:
                until = f" until {utc_date(key.until)}" if key.until else ""
                print_line(f"  fingerprint {key.fingerprint}\n  signs from {utc_date(key.since)}{until}")

    @keys.command()
    def rotate(
        outbox: Annotated[
            bool,
            typer.Option("--outbox", help="Rotate the key that encrypts queued tickets instead."),
        ] = False,
    ) -> None:
        """Rotate the signing key, and print the new verifier key. The previous key also signs for an overlap period.

        With --outbox, the previous key still decrypts until the next rotation. Only for a single host whose key is a file
        that the service can write; otherwise use `tickets keys reseal`.
        """
        if outbox:
            _encrypt(actions.rotate_outbox)
        else:
            print_line(actions.rotate())

    @keys.command()
    def reseal() -> None:
        """Encrypt queued tickets with the first key of the outbox; create no key.

        For several hosts, and for keys from the environment, a command or a read-only file: give every process the new
        key after the current one, then before it, then run this command once, then remove the previous key.
        """
        _encrypt(actions.reseal)


def _encrypt(seal: Callable[[Callable[[int], None]], ResealReport]) -> None:
    with counting("encrypting") as show_progress:
        report = seal(lambda done: show_progress(done, done))
    Console().print(
        f"{_count(report.tickets, 'ticket')} and {_count(report.subscriptions, 'subscription')} re-encrypted.",
        highlight=False,
    )
    if report.lost_tickets or report.lost_subscriptions:
        fail(
            f"{_count(report.lost_tickets, 'ticket')} and {_count(report.lost_subscriptions, 'subscription')} were"
            " encrypted with a key that is missing, and nothing else is lost with it: restore the key, or reset the"
            " tickets (GET …/ticket/deliveries lists them) and define the subscriptions again"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
