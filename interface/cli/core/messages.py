"""Output of commands: errors, progress and lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def fail(message: str) -> NoReturn:
    """Print an error on one line, and exit with status 2."""
    print_notice(message)
    raise SystemExit(2)


def print_notice(message: str) -> None:
    """Print a message on one line of standard error."""
    line = escape(" ".join(message.split()))
    Console(stderr=True, soft_wrap=True).print(f"[bold red]tickets:[/] {line}", highlight=False)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the function that reports progress as (done, total); a terminal shows a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def print_line(text: str) -> None:
    """Write a line of output."""
    sys.stdout.write(f"{text}\n")
