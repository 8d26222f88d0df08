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
        started = False

        async def send_with_traceparent(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"traceparent", state["traceparent"].encode())]
            await send(message)

        try:
            await self._app(scope, _bounded(scope, receive), send_with_traceparent)
        except BodyTooLarge as error:
            await _drain(receive)
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
        return f"00-{self._new_id(16)}-{self._new_id(8)}-01"


def _bounded(scope: Scope, receive: Receive) -> Receive:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > BODY_LIMIT_BYTES:
            raise _too_large()
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > BODY_LIMIT_BYTES:
            raise _too_large()
        return message

    return receive_bounded


async def _drain(receive: Receive) -> None:
    """Read on for a while: a caller that is still sending would see a broken line instead of the answer."""
    drained = 0
    while drained <= _DRAIN_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The body may have {BODY_LIMIT_BYTES} bytes at most.")
