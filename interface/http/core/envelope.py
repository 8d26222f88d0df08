"""The outermost layer: the rules for every request on every path. Plain ASGI, since it is on the hot path."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interface.http.core.headers import Headers as RequestHeaders
from interface.http.core.problems import BodyTooLarge, internal_error_response, problem_response
from interface.http.core.secure_headers import Headers
from interface.trace_context import new_traceparent, parse_traceparent, random_id

BODY_LIMIT_BYTES = 16 * 1024
_DRAIN_BYTES = 1024 * 1024
_DRAIN_SECONDS = 1

log = logging.getLogger(__name__)


# The ids of the current request and of its trace, for its log entries.
CURRENT_REQUEST: ContextVar[tuple[str, str]] = ContextVar("current request")


class Exchange(NamedTuple):
    """A request with its response. operation: None if the path has none. is_root: the request started the trace.

    address: of the caller, as reported by trusted proxies.
    """

    operation: str | None
    method: str
    status: int
    seconds: float
    traceparent: str
    is_root: bool
    actor: str | None
    client_ext_id: str | None
    address: str | None = None


class Envelope:
    """Limits the body, accepts or creates the traceparent, and turns unhandled exceptions into a 500 with an id.

    observe: called after every response; must not block.
    headers: of every response; headers_of: the headers of a path instead. body_limits: of bodies in bytes, by the end of the
    path, instead of BODY_LIMIT_BYTES.
    around: middleware around all responses, including those to unhandled exceptions.

    It also routes by the path as sent, still percent-encoded, so that an id may contain any character, an
    encoded slash too, and is decoded once, after routing. A HEAD is a GET whose response has no body (RFC 9110, section 9.3.2).
    """

    def __init__(
        self,
        app: ASGIApp,
        new_id: Callable[[int], str] = random_id,
        observe: Callable[[Exchange], None] = lambda _: None,
        *,
        headers: Headers,
        headers_of: Mapping[str, Headers],
        body_limits: Mapping[str, int] | None = None,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
    ) -> None:
        self._app = app
        self._new_id = new_id
        self._observe = observe
        self._headers = headers
        self._headers_of = headers_of
        self._body_limits = dict(body_limits or {})
        self._large_paths = tuple(self._body_limits)
        self._serve = around(self._answer) if around else self._answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            # In a copy, since the server reads the method from the original scope.
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        scope["path"] = scope["raw_path"].decode("ascii", "replace")
        # Shared with the operation: also `status` of the response, once it is sent; see Call.
        state = scope.setdefault("state", {})
        sent = state["headers"] = RequestHeaders(scope["headers"])
        given = _given_traceparent(sent)
        traceparent = state["traceparent"] = given or new_traceparent(self._new_id)
        began = time.monotonic()
        headers = self._headers_of.get(scope["path"], self._headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                traced = (b"traceparent", state["traceparent"].encode())
                message["headers"] = [*message["headers"], traced, *headers]
            await send(message)

        # Log records have the id of the request.
        token = CURRENT_REQUEST.set((self._new_id(8), traceparent[3:35]))
        try:
            await self._serve(scope, receive, send_with_headers)
            if status := state.get("status"):
                actor, subject = state.get("access", (None, None))
                client, address = subject and subject.client_ext_id, scope.get("client")
                seconds, operation, is_root = time.monotonic() - began, state.get("operation"), not given
                self._observe(
                    Exchange(
                        operation,
                        method,
                        status,
                        seconds,
                        traceparent,
                        is_root,
                        actor,
                        client,
                        address and address[0],
                    )
                )
        finally:
            CURRENT_REQUEST.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, limit = scope["path"], BODY_LIMIT_BYTES
        if path.endswith(self._large_paths):
            limit = next(limit for end, limit in self._body_limits.items() if path.endswith(end))
        body, state = _BoundedBody(scope, receive, limit), scope["state"]
        try:
            body.check_declared_length()
            await self._app(scope, body.receive, send)
        except BodyTooLarge as error:
            await body.drain()
            await problem_response(error)(scope, receive, send)
        except ClientDisconnect:
            return  # the client has disconnected
        except Exception:
            instance = f"urn:error:{self._new_id(16)}"
            log.exception("%s %s %s", instance, state["traceparent"], scope["method"])
            if "status" in state:
                raise
            await internal_error_response(instance)(scope, receive, send)


def _without_body(send: Send) -> Send:
    """Send the head of a response only. The response is then complete, so an endless body ends as after a disconnection."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_head


def _given_traceparent(headers: RequestHeaders) -> str | None:
    given = headers.getlist("traceparent")
    return parse_traceparent(given[0]) if len(given) == 1 else None


class _BoundedBody:
    """Reads the body of a request, up to the limit."""

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        self._headers: RequestHeaders = scope["state"]["headers"]
        self._limit = limit
        self._receive = receive
        self._received = 0
        self._ended = False

    def check_declared_length(self) -> None:
        """Raise BodyTooLarge if the Content-Length exceeds the limit."""
        for length in self._headers.getlist("content-length"):
            if int(length) > self._limit:
                raise self._too_large()

    async def receive(self) -> Message:
        """Receive the next message. Raises BodyTooLarge."""
        message = await self._receive()
        self._count(message)
        if self._received > self._limit:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Continue to read for a while: otherwise a caller that is still sending gets a broken connection, not the response."""
        if "expect" in self._headers:
            return  # the caller waits for 100 Continue, which reading would send
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._ended and self._received <= _DRAIN_BYTES:
                    self._count(await self._receive())

    def _count(self, message: Message) -> None:
        self._received += len(message.get("body", b""))
        self._ended = not message.get("more_body")

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have {self._limit} bytes at most.")
