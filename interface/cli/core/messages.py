"""How the command line says that something is wrong."""

from typing import NoReturn

from rich.console import Console
from rich.markup import escape


def fail(message: str) -> NoReturn:
    """Say on one line what is wrong, and end with status 2."""
    tell(message)
    raise SystemExit(2)


def tell(message: str) -> None:
    """Say something on one line beside the output."""
    line = escape(" ".join(message.split()))
    Console(stderr=True, soft_wrap=True).print(f"[bold red]tickets:[/] {line}", highlight=False)
