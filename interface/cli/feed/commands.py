"""The commands for the event feed: print and publish it."""

import json
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from application.feed.feed import TYPES
from application.feed.feed_event import FeedEvent
from application.feed.follow import FollowedEvent
from application.feed.formats import CLOUD_EVENTS
from application.record.eras import EventId, parse_event_id
from application.record.history import ERASED
from application.shared.wire import utc_date
from interface.cli.core.ids import checked_client
from interface.cli.core.messages import escaped_json, fail, print_notice
from interface.verify_evidence import shown

_TIME_WIDTH, _POSITION_WIDTH, _TYPE_WIDTH = 20, 6, max(map(len, TYPES))


@dataclass(frozen=True)
class FeedActions:
    """The actions of the commands; interface/composition creates it.

    follow: yields each event, and None when there are no more, at least once a second.
    """

    follow: Callable[..., Generator[FollowedEvent | None]]
    publish: Callable[..., None]


def add_commands(cli: typer.Typer, actions: FeedActions) -> None:
    """Add the commands."""
    _add_follow(cli, actions)
    _add_publish(cli, actions)


def _add_follow(cli: typer.Typer, actions: FeedActions) -> None:
    @cli.command()
    def follow(
        client: Annotated[str, typer.Argument(help="Client (tenant).", callback=checked_client)],
        after: Annotated[
            str | None, typer.Option(help="Id of the last event that you received.", metavar="ID")
        ] = None,
        cursor: Annotated[
            Path | None,
            typer.Option(help="File that stores the position of the last printed event.", dir_okay=False),
        ] = None,
        types: Annotated[
            str | None, typer.Option(help="Only these event types, separated by commas.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print a CloudEvent in JSON per line.")] = False,
    ) -> None:
        """Print the events of a client as they happen, from the beginning or from a position."""
        if after is not None and cursor:
            fail("--after and --cursor exclude each other: the cursor file has the position")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(0))
        encode = _json if as_json else _reader()
        events = actions.follow(
            client, after=_event_id(after or "0"), cursor=cursor, types=_types(types), warn=print_notice
        )
        with closing(events):
            for followed in events:
                if followed is None:
                    _exit_if_pipe_closed()
                else:
                    _print_line(encode(followed))


def _add_publish(cli: typer.Typer, actions: FeedActions) -> None:
    @cli.command()
    def publish(
        to: Annotated[
            str,
            typer.Option(
                help="nats://host:port, tls://host:port (NATS), kafka://host:port[,host:port] or kafka+ssl://…, each"
                " with user:password@ if needed; @FILE reads it from a file and keeps it out of the process list."
            ),
        ],
        client: Annotated[
            list[str] | None,
            typer.Option(
                help="Only the events of this client. Repeatable.",
                show_default="all",
                callback=checked_client,
            ),
        ] = None,
        topic: Annotated[
            str,
            typer.Option("--topic", "--subject", help="Kafka topic, or prefix of the NATS subjects."),
        ] = "tickets",
        stream: Annotated[str, typer.Option(help="NATS stream, created if missing.")] = "TICKETS",
        cursor: Annotated[
            Path | None,
            typer.Option(
                help="File that stores the last published position of each client.",
                dir_okay=False,
                show_default="var/publish-nats.json or -kafka.json",
            ),
        ] = None,
    ) -> None:
        """Publish every event of every client to NATS JetStream or Kafka, until a stop signal."""
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", topic, re.ASCII):
            fail("--topic, --subject: only letters, digits, - and _, with single dots between them")
        if not re.fullmatch(r"[\w-]+", stream, re.ASCII):
            fail("--stream: only letters, digits, - and _")
        actions.publish(to=to, clients=client or [], topic=topic, stream=stream, cursor=cursor)


def _event_id(text: str) -> EventId:
    try:
        return parse_event_id(text)
    except ValueError as error:
        fail(f"--after: {error}")


def _types(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    if unknown := sorted(set(text.split(",")) - set(TYPES)):
        fail(f"--types: unknown event type {unknown[0]!r}; expected one of {', '.join(TYPES)}")
    return frozenset(text.split(","))


def _json(followed: FollowedEvent) -> bytes:
    return escaped_json(CLOUD_EVENTS.encode_event(followed.event, followed.previous).decode()).encode()


def _reader() -> Callable[[FollowedEvent], bytes]:
    """Return the function that formats an event for a human: in columns on a terminal, otherwise on one line."""
    console = Console(highlight=False)

    def encode(followed: FollowedEvent) -> bytes:
        event = followed.event
        cells = [utc_date(event.time) or "", str(event.id), event.type, _what(event)]
        if not console.is_terminal:
            time, position, kind, what = map(shown, cells)
            return f"{time}  {position:>{_POSITION_WIDTH}}  {kind:{_TYPE_WIDTH}}  {what}".encode()
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", width=_TIME_WIDTH)
        grid.add_column(justify="right", min_width=_POSITION_WIDTH, no_wrap=True)
        grid.add_column(style="bold", width=_TYPE_WIDTH)
        grid.add_column(overflow="fold")
        grid.add_row(*(Text(shown(cell)) for cell in cells))
        with console.capture() as line:
            console.print(grid)
        return line.get().rstrip("\n").encode()

    return encode


def _what(event: FeedEvent) -> str:
    """Return the user, actor, reason and changes of an event."""
    who = f"{event.user_ext_id} by {event.actor}".strip()
    text = ERASED if event.reason_erased else event.reason
    reason = f": {text}" if text else ""
    changed = ", ".join(f"{name} {_value(value)}" for name, value in event.changed.items())
    return f"{who}{reason} [{changed}]" if changed else who + reason


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _print_line(line: bytes) -> None:
    """Write a line unbuffered, so that a later exit cannot block on it. Exits if the pipe is closed."""
    rest = memoryview(line + b"\n")
    try:
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
    except BrokenPipeError:
        raise SystemExit(0) from None


def _exit_if_pipe_closed() -> None:
    """Exit if the reader closed the pipe; otherwise only the next write would notice."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(0):
        raise SystemExit(0)
