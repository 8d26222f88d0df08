"""Server-sent events (WHATWG HTML, section 9.2): one response per follower, no buffer for a slow one."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from application.record.eras import EventId
from application.shared.errors import Unavailable
from application.shared.wire import to_json
from interface.http.core.problems import HttpError

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15
_HEARTBEAT = b": nothing new\n\n"
_RETRY_MS = 1000
_OPENING = b"retry: %d\n\n" % _RETRY_MS
# The time limit of the last message, as a multiple of the patience.
_LAST_PATIENCE_FACTOR = 3


class Sent(NamedTuple):
    """An event as sent; the reader resumes after its id."""

    id: EventId
    data: bytes


class EventStream(Response):
    """Sends batches as they arrive; an empty one as a heartbeat.

    permit: called at every heartbeat; raises HttpError if the reader is no longer permitted.
    patience_seconds: time after which a reader that reads nothing is disconnected. Its unread data
    are in the system's buffers and one batch, so a slow reader costs no more memory than a fast one.
    When the service ends the stream, the last event is named `end` and has the reason.
    """

    def __init__(
        self,
        batches: AsyncGenerator[list[Sent], None],
        permit: Callable[[], Awaitable[object]],
        patience_seconds: float,
    ) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=MEDIA_TYPE
        )
        del self.headers["content-length"]
        self._batches = batches
        self._permit = permit
        self._patience_seconds = patience_seconds

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send until the reader disconnects or the service ends the stream."""
        streaming = asyncio.create_task(self._stream(send))
        disconnected = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((streaming, disconnected), return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnected.cancel()
            streaming.cancel()
            await asyncio.wait((streaming, disconnected))
        if not streaming.cancelled():
            streaming.result()

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            reason = await self._send_all(send)
        except TimeoutError:
            reason = "The reader is too slow. Resume from the last id received."
        try:
            async with asyncio.timeout(self._patience_seconds * _LAST_PATIENCE_FACTOR):
                end = b"event: end\ndata: %s\n\n" % to_json({"reason": reason}).encode()
                await send({"type": "http.response.body", "body": end})
        except TimeoutError:
            return  # the reader reads nothing; the server closes the connection

    async def _send_all(self, send: Send) -> str:
        """Send until the end. Returns the reason. Raises TimeoutError if the reader is too slow."""
        try:
            async with aclosing(self._batches) as batches:
                await self._send(send, _OPENING)
                async for batch in batches:
                    if not batch:
                        await self._permit()
                    await self._send(send, b"".join(map(_message, batch)) or _HEARTBEAT)
        except HttpError as error:
            return str(error)
        except Unavailable:
            return "The store is unavailable. Reconnect."
        return "The service is stopping or restarting. Reconnect."

    async def _send(self, send: Send, content: bytes) -> None:
        async with asyncio.timeout(self._patience_seconds):
            await send({"type": "http.response.body", "body": content, "more_body": True})


def _message(sent: Sent) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (str(sent.id).encode(), sent.data)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
