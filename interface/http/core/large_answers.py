"""Answers that can be large or last long: few are read at the same time, and they are sent in pieces."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from weakref import WeakValueDictionary

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from interface.http.core.concurrency_limit import ConcurrencyLimit

# The server keeps one piece of a response in memory that its reader does not read.
_PIECE_BYTES = 64 * 1024
# Each reads up to 1000 items before it encodes those that fit into a page. The comment of an item has up to 4 KiB.
_MOST_READ = 6
_MOST_READ_PER_CLIENT = 2

Respond = Callable[[], Awaitable[Response]]


class LargeAnswers:
    """Answers calls whose response is a page or a stream.

    pages: the limit of the pages that are read or sent. followers: the limit of the live streams and long polls.
    """

    def __init__(self, pages: ConcurrencyLimit, followers: ConcurrencyLimit) -> None:
        self._pages, self._followers = pages, followers
        self._reading = asyncio.Semaphore(_MOST_READ)
        self._reading_of = WeakValueDictionary[str, asyncio.Semaphore]()

    async def follow(self, client_ext_id: str, actor: str, respond: Respond) -> Response:
        """Return the response of a live stream or a long poll. Raises TooManyRequests, and the errors of `respond`."""
        return await counted(self._followers, (client_ext_id, actor), respond)

    async def page(self, client_ext_id: str, actor: str, respond: Respond) -> Response:
        """Return the response of a page. Raises TooManyRequests, and the errors of `respond`.

        Pages are read in the order of the requests, except those of a client that already reads as many as it may.
        """

        async def read() -> Response:
            of_client = self._reading_of.setdefault(client_ext_id, asyncio.Semaphore(_MOST_READ_PER_CLIENT))
            async with of_client, self._reading:
                return await respond()

        return await counted(self._pages, (client_ext_id, actor), read)


async def counted(limit: ConcurrencyLimit, of: tuple[str, str], respond: Respond) -> Response:
    """Return a response that the limit counts until it is sent. of: the client and the caller.

    Raises TooManyRequests, and the errors of `respond`.
    """
    limit.begin(*of)
    try:
        response = await respond()
    except BaseException:
        limit.end(*of)
        raise
    return _Counted(response, partial(limit.end, *of))


class _Counted(Response):
    """Sends a response in pieces and reports the end, also if the caller disconnects."""

    def __init__(self, response: Response, ended: Callable[[], None]) -> None:
        super().__init__()
        self._response, self._ended = response, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            if not message.get("more_body") and len(body) > _PIECE_BYTES:
                *pieces, last = (
                    body[begin : begin + _PIECE_BYTES] for begin in range(0, len(body), _PIECE_BYTES)
                )
                for piece in pieces:
                    await send({**message, "body": piece, "more_body": True})
                message = {**message, "body": last}
            await send(message)

        try:
            await self._response(scope, receive, send_in_pieces)
        finally:
            self._ended()
