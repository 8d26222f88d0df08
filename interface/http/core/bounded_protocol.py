"""Limits on a connection: a client that is too slow, or sends without an end, is disconnected.

uvicorn itself has no time limit for the rest of a request or for a stalled reader, and no limit on the header.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from interface.http.core.envelope import Exchange
from interface.http.core.problems import MEDIA_TYPE, ErrorMessage, Problem
from interface.http.core.secure_headers import Headers
from interface.trace_context import new_traceparent

HEAD_LIMIT_BYTES = 64 * 1024
# The key under which the lifespan yields the function called for every request rejected here.
OBSERVE = "observe"
# More than the application reads of any body: the rest is trailers, or the body of a request with a response.
_REQUEST_LIMIT_BYTES = 4 * 1024 * 1024
_PROBLEMS = {
    400: ("The request is not valid HTTP", "errors.invalidData"),
    408: ("The request took too long", "errors.invalidData"),
    413: ("The body is too large", "errors.payloadTooLarge"),
    431: ("The request header is too large", "errors.invalidData"),
}


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    patience_seconds: limit for a complete request, from the connection or its first byte.
    reader_patience_seconds: time after which a client that reads nothing of a response is disconnected.
    headers: of every response sent here, without the application.
    """

    def __init__(
        self,
        *arguments: Any,
        patience_seconds: float,
        reader_patience_seconds: float,
        headers: Headers,
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self._patience_seconds = patience_seconds
        self._reader_patience_seconds = reader_patience_seconds
        self._headers_of_refusals = headers
        self._received = 0
        self._began = 0.0
        self._request_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_the_rest()

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes."""
        super().data_received(data)
        head_is_complete = self._head_is_complete
        if head_is_complete and self._body_is_complete:
            # Requests are nearly always complete, so a timer is rarely created.
            self._received = 0
            _cancel(self._request_timer)
            self._request_timer = None
            return
        self._received += len(data)
        if not head_is_complete and self._received > HEAD_LIMIT_BYTES:
            self._cut_off(431, "A request header may have 64 KiB at most.")
        elif self._received > _REQUEST_LIMIT_BYTES:
            self._cut_off(413, "The request is too large.")
        elif self._request_timer is None:
            self._await_the_rest()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's message, in plain text
        """Respond with 400 to bytes that are not HTTP, unless that would corrupt a response being sent."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._refuse(400, "This cannot be read as HTTP/1.1: check the method, the path and the headers.")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        _cancel(self._request_timer)
        self._request_timer = None
        _cancel(self._reader_timer)
        self._reader_timer = None
        if self._running:
            # uvicorn notifies only the newest of pipelined requests; the previous one would write to a closed connection.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._reader_timer = self.loop.call_later(self._reader_patience_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timer for a stalled reader."""
        _cancel(self._reader_timer)
        self._reader_timer = None
        super().resume_writing()

    @property
    def _head_is_complete(self) -> bool:
        # uvicorn creates a scope when a request begins, and a cycle when its head has ended.
        return self.scope is (self.cycle.scope if self.cycle else None)

    @property
    def _body_is_complete(self) -> bool:
        return bool(self.cycle) and not self.cycle.more_body and not self.cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _await_the_rest(self) -> None:
        self._began = time.monotonic()
        self._request_timer = self.loop.call_later(self._patience_seconds, self._give_up)

    def _give_up(self) -> None:
        self._cut_off(408, f"A request must be complete within {self._patience_seconds:g} seconds.")

    def _cut_off(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        unanswered = self.cycle and not self.cycle.response_complete
        misses_its_body = self._head_is_complete and unanswered and not self.cycle.response_started
        misses_its_head = not self._head_is_complete and not unanswered
        if misses_its_body or misses_its_head:
            self._refuse(status, message)
        self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        title, code = _PROBLEMS[status]
        problem = Problem(
            title=title, status=status, detail=message, errors=[ErrorMessage(code=code, message=message)]
        )
        content = problem.model_dump_json(exclude_none=True).encode()
        traceparent = new_traceparent()
        headers = {
            b"content-type": MEDIA_TYPE.encode(),
            b"content-length": str(len(content)).encode(),
            b"cache-control": b"no-store",
            b"connection": b"close",
            b"traceparent": traceparent.encode(),
            **dict(self._headers_of_refusals),
        }
        head = b"".join(b"%s: %s\r\n" % header for header in headers.items())
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + content)
        if observe := self.app_state.get(OBSERVE):
            seconds = time.monotonic() - self._began if self._request_timer else 0
            address = self.client and self.client[0]
            # The operation and the method are unknown.
            observe(Exchange(None, "?", status, seconds, traceparent, True, None, None, address))


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
