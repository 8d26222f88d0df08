"""A stream that is slow, ends, or loses its reader; the test controls the sending."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import Message

from application.record.eras import EventId
from application.shared.errors import StoreUnavailable
from interface.http.core.problems import InvalidToken
from interface.http.feed.event_stream import EventStream, Sent
from tests.support import virtual_time

PATIENCE_SECONDS = 10


@dataclass
class Reader:
    """The server's side of a connection; accepts nothing until it `flows`."""

    taken: list[bytes] = field(default_factory=list)
    enough: dict[int, asyncio.Event] = field(default_factory=dict)
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: Message) -> None:
        if "body" in message:
            await self.flows.wait()
            self.taken.append(message["body"])
        if len(self.taken) in self.enough:
            self.enough[len(self.taken)].set()

    async def has_taken(self, count: int) -> None:
        await self.enough.setdefault(count, asyncio.Event()).wait()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def last(self) -> bytes:
        return self.taken[-1]


def reading() -> Reader:
    reader = Reader()
    reader.flows.set()
    return reader


async def permit() -> None:
    """Permit it to continue."""


async def forever() -> AsyncGenerator[list[Sent], None]:
    number = 0
    while True:
        number += 1
        yield [Sent(EventId(number), b"{}")]
        await asyncio.sleep(0)


async def run(
    reader: Reader,
    batches: AsyncGenerator[list[Sent], None],
    allow: Callable[[], Awaitable[None]] = permit,
) -> None:
    stream = EventStream(batches, allow, PATIENCE_SECONDS)
    await asyncio.wait_for(stream({}, reader.receive, reader.send), PATIENCE_SECONDS * 10)


def test_each_event_is_sent_with_its_id_and_nothing_new_is_a_comment() -> None:
    async def batches() -> AsyncGenerator[list[Sent], None]:
        yield [Sent(EventId(1), b'{"a":1}'), Sent(EventId(2), b"{}")]
        yield []

    reader = reading()
    virtual_time.run(run(reader, batches()))

    assert reader.taken[:3] == [
        b"retry: 1000\n\n",
        b'id: 1\ndata: {"a":1}\n\nid: 2\ndata: {}\n\n',
        b": nothing new\n\n",
    ]
    assert reader.last.startswith(b"event: end\n")


def test_a_reader_that_is_too_slow_gets_an_end() -> None:
    async def slow() -> Reader:
        reader = reading()
        running = asyncio.create_task(run(reader, forever()))
        await reader.has_taken(5)
        reader.flows.clear()
        await asyncio.sleep(
            PATIENCE_SECONDS * 2
        )  # too slow, but before the send of the last message times out
        reader.flows.set()
        await running
        return reader

    reader = virtual_time.run(slow())

    assert reader.last.startswith(b"event: end\n")
    assert b"The reader is too slow" in reader.last
    ids = [int(sent.split()[1]) for sent in reader.taken if sent.startswith(b"id:")]
    assert ids == list(range(1, len(ids) + 1))


def test_a_reader_that_never_reads_again_is_disconnected() -> None:
    async def dead() -> Reader:
        reader = Reader()
        await run(reader, forever())
        return reader

    # The first message already exceeds its buffer.
    assert virtual_time.run(dead()).taken == []


def test_a_disconnected_reader_ends_the_following() -> None:
    ended: list[bool] = []

    async def batches() -> AsyncGenerator[list[Sent], None]:
        try:
            yield [Sent(EventId(1), b"{}")]
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def leave() -> None:
        reader = reading()
        running = asyncio.create_task(run(reader, batches()))
        await reader.has_taken(2)
        reader.gone.set()
        await running

    virtual_time.run(leave())

    assert ended == [True]


def test_an_expired_token_ends_the_stream_with_a_reason() -> None:
    async def idle() -> AsyncGenerator[list[Sent], None]:
        while True:
            yield []

    async def refuse() -> None:
        raise InvalidToken("The token has expired. Get a new one.")

    reader = reading()
    virtual_time.run(run(reader, idle(), refuse))

    assert b"The token has expired" in reader.last


def test_a_failing_store_ends_the_stream_with_a_reason() -> None:
    async def broken() -> AsyncGenerator[list[Sent], None]:
        yield [Sent(EventId(1), b"{}")]
        raise StoreUnavailable("secret inside")

    reader = reading()
    virtual_time.run(run(reader, broken()))

    assert b"The store is unavailable" in reader.last
    assert b"secret" not in reader.last
