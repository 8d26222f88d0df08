"""The commands for delivery: run it alone, and check what mails and letters say."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from interface.cli.core.messages import fail

LETTER = "letter.pdf"
# What each kind of text is for; its file is called so.
KINDS = {
    "subject.txt": "the subject of every mail",
    "mail.txt": "the mail of Email, and of HTMLemail for those who read text",
    "mail.html": "the mail of HTMLemail",
    "attached.txt": "the mail of PDFemail, which has the letter attached",
    "letter.txt": "the letter of PDFemail and PDFstore; its first line is its subject, what is indented is set apart",
}
PLACEHOLDERS = {
    "ticket": "the ticket; in a mail that has a letter attached, and in a subject, there is none",
    "name": "the user's name, or their id where none is known",
    "user": "the user's id",
    "client": "the client's id",
    "valid_until": "when the ticket ends, written as the language writes it",
}


@dataclass(frozen=True)
class DeliveryActions:
    """What the commands do; interface/composition wires it.

    check_templates: returns the names of all, and what is wrong with any.
    """

    deliver: Callable[[], None]
    check_templates: Callable[[], tuple[Sequence[str], Sequence[str]]]
    render_template: Callable[[str, str, str], bytes]


def add_commands(cli: typer.Typer, actions: DeliveryActions) -> None:
    """Add the commands."""

    @cli.command()
    def deliver() -> None:
        """Deliver tickets beside the servers, until a signal says stop; any number of processes may."""
        actions.deliver()

    _add_templates(cli, actions)


def _add_templates(cli: typer.Typer, actions: DeliveryActions) -> None:
    templates = typer.Typer(help="The texts of mails and letters.", no_args_is_help=True)
    cli.add_typer(templates, name="templates")

    @templates.command()
    def check() -> None:
        """Check every template: the built-in ones, and those in TICKETS_TEMPLATE_DIR.

        There a text for one client is `CLIENT/LANGUAGE/KIND`, for all `_/LANGUAGE/KIND`, such as `_/de/mail.txt`; what is
        not there is built in, in de, en, fr and it. They are Jinja templates.
        """
        names, faults = actions.check_templates()
        for fault in faults:
            Console(stderr=True, soft_wrap=True).print(fault, highlight=False, markup=False)
        Console().print(
            f"{len(names)} templates, {len(faults)} faults."
            if faults
            else f"{len(names)} templates, all good.",
            highlight=False,
        )
        if faults:
            raise SystemExit(1)

    @templates.command()
    def kinds() -> None:
        """Show the kinds of texts, and what may stand in them."""
        for title, known in (("Kinds", KINDS), ("Placeholders", PLACEHOLDERS)):
            table = Table(title=title, title_justify="left", show_header=False)
            for name, what in known.items():
                table.add_row(f"{{{{ {name} }}}}" if known is PLACEHOLDERS else name, what)
            Console().print(table)

    _add_render(templates, actions)


def _add_render(templates: typer.Typer, actions: DeliveryActions) -> None:
    @templates.command()
    def render(
        kind: Annotated[
            str, typer.Argument(help=f"Such as mail.html, or {LETTER} for the letter as printed.")
        ],
        language: Annotated[str, typer.Option(help="Language of the user.")] = "en",
        client: Annotated[str, typer.Option(help="Client of the user.")] = "client-123",
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="File to write; else it is printed.", dir_okay=False),
        ] = None,
    ) -> None:
        """Show a text as a user would get it, with a ticket that is nobody's."""
        if kind not in (*KINDS, LETTER):
            fail(f"{kind}: there is no such kind; there are {', '.join((*KINDS, LETTER))}")
        if kind == LETTER and output is None and sys.stdout.isatty():
            fail(f"{LETTER} is no text: name a file with -o")
        content = actions.render_template(kind, client, language)
        if output is None:
            sys.stdout.buffer.write(content)
            return
        try:
            output.write_bytes(content)
        except OSError as error:
            fail(f"{output} cannot be written: {error.strerror}")
        Console().print(f"{output}: {len(content):,} bytes", highlight=False)
