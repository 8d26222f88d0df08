"""Output of commands: errors, progress and lines, without characters that a terminal interprets."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from msgspec.json import Encoder
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from interface.verify_evidence import shown

_encode_lines = Encoder().encode_lines


def fail(message: str) -> NoReturn:
    """Print an error on one line, and exit with status 2."""
    print_notice(message)
    raise SystemExit(2)


def print_notice(message: str) -> None:
    """Print a message on one line of standard error."""
    line = escape(shown(" ".join(message.split())))
    Console(stderr=True, soft_wrap=True).print(f"[bold red]tickets:[/] {line}", highlight=False)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the function that reports progress as (done, total); a terminal shows a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@contextmanager
def reading(file: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; a terminal shows a bar. Raises OSError."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        progress.open(file, "rb", description=file.name) as content,
    ):
        yield content


def print_report(text: str) -> None:
    """Print a finding on one line of standard error."""
    Console(stderr=True, soft_wrap=True).print(shown(text), highlight=False, markup=False)


def escaped_json(text: str) -> str:
    """Return the same JSON with escapes instead of the characters that `shown` replaces."""
    if text.isprintable():
        return text
    return "".join(
        character if shown(character) == character else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
        for character in text
    )


def escaped_lines(items: Sequence[Mapping[str, Any]]) -> str:
    """Return a line of JSON for each item, escaped as by `escaped_json`."""
    lines = _encode_lines(items)
    # JSON escapes the other control characters; this test takes a tenth of the time of one per line.
    if lines.isascii() and b"\x7f" not in lines:
        return lines.decode()
    return "".join(f"{escaped_json(line)}\n" for line in lines.decode().split("\n")[:-1])


def print_line(text: str) -> None:
    """Write a line of output."""
    sys.stdout.write(f"{text}\n")
