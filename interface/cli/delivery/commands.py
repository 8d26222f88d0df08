"""The commands for delivery: run it in a separate process, and check templates."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from interface.cli.core.files import open_private
from interface.cli.core.ids import checked_id
from interface.cli.core.messages import fail, print_report

LETTER = "letter.pdf"
# The purpose of each kind of template; the kind is its file name.
KINDS = {
    "subject.txt": "the subject of every mail",
    "mail.txt": "the mail of Email, and the text part of HTMLemail",
    "mail.html": "the mail of HTMLemail",
    "attached.txt": "the mail of PDFemail, which has the letter attached",
    "letter.txt": "the letter of PDFemail and PDFstore; the first line is the subject, indented lines are framed",
}
PLACEHOLDERS = {
    "ticket": "the ticket; empty in subjects and in mails with an attached letter",
    "ticket_in_groups": "the ticket with a blank after each group of the policy's `ticketGroupSize`; empty as the ticket is",
    "name": "the user's name, or the user's id if no name is known",
    "user": "the user's id",
    "client": "the client's id",
    "valid_until": "the expiry of the ticket, in the format of the language",
}


@dataclass(frozen=True)
class DeliveryActions:
    """The actions of the commands; interface/composition creates it.

    check_templates: returns the names of all templates, and one message per fault.
    """

    deliver: Callable[[], None]
    check_templates: Callable[[], tuple[Sequence[str], Sequence[str]]]
    render_template: Callable[[str, str, str], bytes]


def add_commands(cli: typer.Typer, actions: DeliveryActions) -> None:
    """Add the commands."""

    @cli.command()
    def deliver() -> None:
        """Deliver tickets in a separate process, until a stop signal; several processes may run."""
        actions.deliver()

    _add_templates(cli, actions)


def _add_templates(cli: typer.Typer, actions: DeliveryActions) -> None:
    templates = typer.Typer(help="The templates of mails and letters.", no_args_is_help=True)
    cli.add_typer(templates, name="templates")

    @templates.command()
    def check() -> None:
        """Check every template: the built-in ones, and those in TICKETS_TEMPLATE_DIR.

        There, a template for one client is `CLIENT/LANGUAGE/KIND`, for all clients `_/LANGUAGE/KIND`, such as
        `_/de/mail.txt`. Missing ones are built in, in de, en, fr and it. The format is Jinja.
        """
        names, faults = actions.check_templates()
        for fault in faults:
            print_report(str(fault))
        Console().print(
            f"{len(names)} templates, {len(faults)} faults."
            if faults
            else f"{len(names)} templates, no faults.",
            highlight=False,
        )
        if faults:
            raise SystemExit(1)

    @templates.command()
    def kinds() -> None:
        """List the kinds of templates and their placeholders."""
        for title, known in (("Kinds", KINDS), ("Placeholders", PLACEHOLDERS)):
            table = Table(title=title, title_justify="left", show_header=False)
            for name, meaning in known.items():
                table.add_row(f"{{{{ {name} }}}}" if known is PLACEHOLDERS else name, meaning)
            Console().print(table)

    _add_render(templates, actions)


def _add_render(templates: typer.Typer, actions: DeliveryActions) -> None:
    @templates.command()
    def render(
        kind: Annotated[
            str, typer.Argument(help=f"Kind such as mail.html, or {LETTER} for the printed letter.")
        ],
        language: Annotated[str, typer.Option(help="Language of the user.")] = "en",
        client: Annotated[str, typer.Option(help="Client of the user.", callback=checked_id)] = "client-123",
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="File to write; default: standard output.", dir_okay=False),
        ] = None,
    ) -> None:
        """Render a template for a sample user, with a sample ticket."""
        if kind not in (*KINDS, LETTER):
            fail(f"unknown kind {kind!r}; expected one of {', '.join((*KINDS, LETTER))}")
        if kind == LETTER and output is None and sys.stdout.isatty():
            fail(f"{LETTER} is a binary file: give a file with -o")
        content = actions.render_template(kind, client, language)
        if output is None:
            sys.stdout.buffer.write(content)
            return
        try:
            with open_private(output) as file:
                file.write(content)
        except OSError as error:
            fail(f"{output} cannot be written: {error.strerror}")
        Console().print(f"{output}: {len(content):,} bytes", highlight=False)
