"""The command that shows the ledger of the installation."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from application.shared.wire import to_json
from interface.cli.core.messages import escaped_json, print_line
from interface.verify_evidence import shown


@dataclass(frozen=True)
class InstallationActions:
    """The actions of the commands; interface/composition creates it."""

    history: Callable[[], Iterable[Any]]


def add_commands(cli: typer.Typer, actions: InstallationActions) -> None:
    """Add the commands."""
    installation = typer.Typer(
        help="The ledger of the installation: maintenance of the store by operators and jobs.",
        no_args_is_help=True,
    )
    cli.add_typer(installation, name="installation")

    @installation.callback()
    def _() -> None:
        pass

    @installation.command()
    def history(
        as_json: Annotated[bool, typer.Option("--json", help="A line of JSON per event.")] = False,
    ) -> None:
        """Show maintenance: migrations, key rotations, backups, restores, rebuilds, checks, and clocks that were set back.

        A command records itself at its end, if the store can be written then; otherwise it prints that it could not. The
        client of this ledger is a dot: `tickets audit export .` and `tickets checkpoint .` work as for other clients.
        """
        if as_json:
            for item in actions.history():
                print_line(escaped_json(to_json(item)))
            return
        table = Table(box=SIMPLE)
        table.add_column("position", justify="right")
        table.add_column("event", no_wrap=True)
        table.add_column("details", overflow="fold")
        for item in actions.history():
            event = [item["time"], item["type"], f"by {item['actor']}"]
            details = [f"{name}: {value}" for name, value in _flat(item["details"])]
            cells = ([str(item["position"])], event, details)
            table.add_row(*(Text("\n".join(map(shown, cell))) for cell in cells))
        Console().print(table)


def _flat(details: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in details.items():
        yield from value.items() if isinstance(value, dict) else [(name, value)]
