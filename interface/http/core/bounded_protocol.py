"""Limits on a connection: a client that is too slow, or sends without an end, is disconnected.

uvicorn itself has no time limit for the rest of a request or for a stalled reader, no limit on the header, and accepts
trailers as headers and a request without a host.
"""

import asyncio
import re
import time
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from interface.http.core.envelope import Exchange
from interface.http.core.problems import MEDIA_TYPE, ErrorMessage, Problem
from interface.http.core.secure_headers import Headers
from interface.trace_context import new_traceparent

HEAD_LIMIT_BYTES = 64 * 1024
HEADER_LIMIT = 128
# The key under which the lifespan yields the function called for every request rejected here.
OBSERVE = "observe"
# More than the application reads of any body: the rest is trailers, or the body of a request with a response.
_REQUEST_LIMIT_BYTES = 4 * 1024 * 1024
# RFC 3986, section 3.2.2 and 3.2.3: a name, an IPv4 or a bracketed IPv6 address, and a port. It may be empty.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:._-]+\])(?::[0-9]*)?")
_PROBLEMS = {
    400: ("The request is not valid HTTP", "errors.invalidData"),
    408: ("The request took too long", "errors.invalidData"),
    413: ("The body is too large", "errors.payloadTooLarge"),
    431: ("The request header is too large", "errors.invalidData"),
}


_NOT_HTTP = (400, "This cannot be read as HTTP/1.1: check the method, the path and the headers.")
_HEAD_TOO_LARGE = (
    431,
    f"A request header may have {HEAD_LIMIT_BYTES // 1024} KiB and {HEADER_LIMIT} fields at most.",
)
_NO_HOST = (400, "Send exactly one Host header, with the name of the server (RFC 9112, section 3.2).")


class _RefusedHead(Exception):
    """The head of a request breaks a rule; httptools turns it into a parser error."""


@lru_cache(maxsize=256)
def _head_of(names: tuple[bytes, ...]) -> tuple[bytes, int] | None:
    """Return the format of a head with these headers, and the place of its Content-Length; None: uvicorn writes the head."""
    if names.count(b"content-length") != 1 or any(
        name in (b"connection", b"transfer-encoding") or name != name.lower() or HEADER_RE.search(name)
        for name in names
    ):
        return None
    lines = [name.replace(b"%", b"%%") + b": %b\r\n" for name in names]
    return b"".join([*lines, b"\r\n"]), names.index(b"content-length")


class _Cycle(RequestResponseCycle):
    """A request with its response.

    Checks all headers together: uvicorn applies two regular expressions to each of them. Writes the head with the body, since
    each write is a system call.
    """

    _head = b""

    async def send(self, message: Any) -> None:
        """Send a part of the response. Raises RuntimeError for a header that HTTP does not allow."""
        if self._head:
            await self._send_after_head(message)
            return
        ready = self.keep_alive and not (self.disconnected or self.flow.write_paused or self.access_log)
        if self.response_started or not ready or message["type"] != "http.response.start":
            await super().send(message)
            return
        names, values = zip(*self.default_headers, *message["headers"], strict=True)
        head = _head_of(names)
        if head is None or HEADER_VALUE_RE.search(b" ".join(values)):
            await super().send(message)
            return
        form, place = head
        self.response_started, self.waiting_for_100_continue = True, False
        self.expected_content_length, self.chunked_encoding = int(values[place]), False
        self._head = STATUS_LINE[message["status"]] + form % values

    async def _send_after_head(self, message: Any) -> None:
        head, self._head = self._head, b""
        body = message.get("body", b"")
        is_complete = len(body) == self.expected_content_length and not message.get("more_body")
        if not is_complete or self.disconnected or not self.keep_alive or self.scope["method"] == "HEAD":
            self.transport.write(head)
            await super().send(message)
            return
        self.transport.write(head + body)
        self.response_complete = True
        self.message_event.set()
        self.on_response()


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
        self._head_bytes = 0
        self._fault = _NOT_HTTP
        self._began = 0.0
        self._request_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        # Of the last request: a client sends the same to a connection.
        self._valid_hosts: list[bytes] | None = None

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
            self._cut_off(*_HEAD_TOO_LARGE)
        elif self._received > _REQUEST_LIMIT_BYTES:
            self._cut_off(413, "The request is too large.")
        elif self._request_timer is None:
            self._await_the_rest()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header without the blanks around its value (RFC 9110, section 5.5); a trailer is dropped (6.5.1)."""
        if self._head_is_complete:
            return
        # Called for each header: the body of uvicorn's method is repeated here, since a call costs as much as it does.
        self._head_bytes += len(name) + len(value)
        name, value, headers = name.lower(), value.strip(b" \t"), self.headers
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))
        if len(headers) > HEADER_LIMIT or self._head_bytes > HEAD_LIMIT_BYTES:
            self._reject(_HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Begin the request, if it has the host that its version requires."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if hosts != self._valid_hosts:
            required = self.parser.get_http_version() != "1.0"
            if len(hosts) > 1 or (required and not hosts) or not all(map(_HOST.fullmatch, hosts)):
                self._reject(_NO_HOST)
            # Not kept from HTTP/1.0, which needs none.
            self._valid_hosts = hosts or None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's message, in plain text
        """Respond with 400 to bytes that are not HTTP, unless that would corrupt a response being sent."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._refuse(*self._fault)
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

    def _count(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self._reject(_HEAD_TOO_LARGE)

    def _reject(self, fault: tuple[int, str]) -> None:
        self._fault = fault
        raise _RefusedHead

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        # uvicorn has no setting for the class.
        cycle.__class__ = _Cycle
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
