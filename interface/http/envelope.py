"""The outermost layer: what holds for every request, whatever its path. Plain ASGI, to be cheap."""

import logging
import re
import secrets
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interface.http.problems import BodyTooLarge, internal_error_response, problem_response

BODY_LIMIT_BYTES = 16 * 1024
_DRAIN_BYTES = 1024 * 1024

# W3C Trace Context, section 3.2: version ff and all-zero ids are invalid; a version above 00 may go on after the flags.
_TRACEPARENT = re.compile(
    r"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?)"
)
_TRACEPARENT_LENGTH = 55

log = logging.getLogger(__name__)


class Envelope:
    """Bounds the body, takes over or makes the traceparent, and turns what nobody caught into a 500 with an id.

    It also routes by the path as it was sent, still percent-encoded, so that an id may hold any character, an
    encoded slash too, and is decoded once, after routing.
    """

    def __init__(self, app: ASGIApp, new_id: Callable[[int], str] = secrets.token_hex) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = scope["raw_path"].decode("ascii", "replace")
        state = scope.setdefault("state", {})
        state["traceparent"] = self._traceparent(scope)
        body = _BoundedBody(scope, receive)
        started = False

        async def send_with_traceparent(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"traceparent", state["traceparent"].encode())]
            await send(message)

        try:
            body.check_declared_length()
            await self._app(scope, body.receive, send_with_traceparent)
        except BodyTooLarge as error:
            await body.drain()
            await problem_response(error)(scope, receive, send_with_traceparent)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception:
            instance = f"urn:error:{self._new_id(16)}"
            log.exception("%s %s %s", instance, state["traceparent"], scope["method"])
            if started:
                raise
            await internal_error_response(instance)(scope, receive, send_with_traceparent)

    def _traceparent(self, scope: Scope) -> str:
        given: list[bytes] = [value for name, value in scope["headers"] if name == b"traceparent"]
        if len(given) == 1:
            text = given[0].decode("latin-1")
            if _TRACEPARENT.fullmatch(text):
                return text[:_TRACEPARENT_LENGTH]
        return new_traceparent(self._new_id)


def new_traceparent(new_id: Callable[[int], str] = secrets.token_hex) -> str:
    """Return a trace context for work that nobody's request began."""
    return f"00-{new_id(16)}-{new_id(8)}-01"


class _BoundedBody:
    """Reads the body of a request, and no more than the limit of it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._received = 0
        self._ended = False

    def check_declared_length(self) -> None:
        """Raise BodyTooLarge where the Content-Length says so."""
        for name, value in self._scope["headers"]:
            if name == b"content-length" and int(value) > BODY_LIMIT_BYTES:
                raise _too_large()

    async def receive(self) -> Message:
        """Receive the next message. Raises BodyTooLarge."""
        message = await self._next()
        if self._received > BODY_LIMIT_BYTES:
            raise _too_large()
        return message

    async def drain(self) -> None:
        """Read on for a while: a caller that is still sending would see a broken line instead of the answer."""
        while not self._ended and self._received <= _DRAIN_BYTES:
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._ended = not message.get("more_body")
        return message


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The body may have {BODY_LIMIT_BYTES} bytes at most.")
