"""The command line `tickets`."""

from typing import Annotated

import typer

from interface import version


def build_cli() -> typer.Typer:
    """Return the command line, to which each room adds its commands."""
    cli = typer.Typer(
        name="tickets",
        help="Ticket credentials: create, reset and deliver them, over HTTP.",
        no_args_is_help=True,
        rich_markup_mode="markdown",  # joins the lines of a paragraph
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @cli.callback()
    def _(
        _version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print the version, and exit.", callback=_print_version, is_eager=True
            ),
        ] = False,
    ) -> None:
        pass

    return cli


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tickets {version.current()}")  # noqa: T201
        raise typer.Exit
