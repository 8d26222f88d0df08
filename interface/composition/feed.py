"""The actions of the commands for the event feed."""

import asyncio
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import quote

import typer
import uvloop

from application.feed.backoff import Backoff
from application.feed.broker import Broker
from application.feed.feed import FeedQuery
from application.feed.follow import FollowedEvent, follow
from application.feed.publish import publish
from application.record.eras import EventId
from application.shared.errors import Unavailable
from interface.cli.feed import commands
from interface.composition.service import configure_logging, open_store, require_store
from interface.outbound.brokers.broker_url import BrokerUrl, parse_broker_url
from interface.outbound.files.cursor_file import open_cursor
from interface.outbound.system import SystemRandomness
from interface.settings import InvalidSettings, Settings, read_settings

_STOP_TIMEOUT_SECONDS = 5


def follow_feed(
    client: str,
    *,
    after: EventId,
    cursor: Path | None,
    types: frozenset[str] | None,
    warn: Callable[[str], None],
) -> Generator[FollowedEvent | None]:
    """Yield the events of a client; None when there are no more.

    The cursor moves when the next event is requested. Raises PositionNotFound, CursorRefused, Unavailable, InvalidSettings.
    """
    settings = read_settings()
    require_store(settings)
    source = f"{settings.ledger_name}/{quote(client, safe='')}"
    with (
        closing(open_store(settings)) as store,
        open_cursor(cursor, source) if cursor else nullcontext() as stored_cursor,
    ):
        last = stored_cursor.last(client) if stored_cursor else after
        query = FeedQuery(client, last.position, types, last.era)
        for followed in follow(
            query,
            ledger=store,
            origin=settings.ledger_name,
            public_url=settings.public_url,
            notify=warn,
        ):
            yield followed
            if followed and stored_cursor:
                stored_cursor.move(client, followed.event.id)
                with _defer_signals():
                    stored_cursor.keep()


@contextmanager
def _defer_signals() -> Iterator[None]:
    """Defer signals, so that a stop interrupts no step."""
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def publish_feeds(*, to: str, clients: list[str], topic: str, stream: str, cursor: Path | None) -> None:
    """Publish until a stop signal. Raises PositionNotFound, CursorRefused, InvalidSettings."""
    settings = read_settings()
    configure_logging(settings)
    try:
        url = parse_broker_url(Path(to[1:]).read_text().strip() if to.startswith("@") else to)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"--to: {error}") from None
    place = f"topic {topic}" if url.is_kafka else f"stream {stream}, subjects {topic}.>"
    path = cursor or Path(f"var/publish-{url.extra}.json")
    uvloop.run(_publish(settings, _broker(url, topic, stream), f"{url.address} {place}", clients, path))


def _broker(url: BrokerUrl, topic: str, stream: str) -> Broker:
    """Return the broker's adapter, whose library is installed by an extra."""
    try:
        if url.is_kafka:
            from interface.outbound.brokers.kafka_broker import KafkaBroker  # noqa: PLC0415

            return KafkaBroker(url, topic)
        from interface.outbound.brokers.nats_broker import NatsBroker  # noqa: PLC0415

        return NatsBroker(url, stream, topic)
    except ModuleNotFoundError:
        raise InvalidSettings(
            f"{url.scheme}:// requires a library: pip install 'ticket-credential-service[{url.extra}]'"
        ) from None


async def _publish(settings: Settings, broker: Broker, target: str, clients: list[str], cursor: Path) -> None:
    backoff = Backoff(asyncio.Event(), SystemRandomness())
    loop, publishing = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())

    def stop() -> None:
        backoff.stop.set()
        loop.call_later(_STOP_TIMEOUT_SECONDS, publishing.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        while not backoff.stop.is_set():
            try:
                with closing(open_store(settings)) as store:
                    await publish(
                        store=store,
                        ledger=store,
                        broker=broker,
                        open_cursor=partial(open_cursor, cursor, target),
                        target=target,
                        origin=settings.ledger_name,
                        public_url=settings.public_url,
                        clients=clients,
                        backoff=backoff,
                    )
            except Unavailable as error:
                await backoff.wait(error)


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.FeedActions(follow=follow_feed, publish=publish_feeds)
    commands.add_commands(cli, actions)
