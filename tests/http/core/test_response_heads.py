"""The head of a response is that of uvicorn, byte for byte, with its checks."""

import asyncio
import logging
from typing import Any
from unittest.mock import Mock

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from interface.http.core.bounded_protocol import _Cycle

LENGTH = (b"content-length", b"2")
DATE = (b"date", b"Sat, 28 Nov 2026 09:42:00 GMT")


class Transport(asyncio.Transport):
    """Keeps the written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


def sent(kind: type[RequestResponseCycle], status: int, headers: list[Any], **changes: Any) -> Any:
    """Return the bytes of a response, whether the connection is closed, and the error."""
    transport, log = Transport(), logging.getLogger(__name__)
    scope: Any = {"type": "http", "method": changes.get("method", "GET")}
    flow = Mock(write_paused=False)
    keep_alive = changes.get("keep_alive", True)

    async def send() -> None:
        cycle = kind(
            scope, transport, flow, log, log, False, [DATE], asyncio.Event(), False, keep_alive, lambda: None
        )
        await cycle.send({"type": "http.response.start", "status": status, "headers": headers})
        await cycle.send({"type": "http.response.body", "body": b"{}"})

    error = ""
    try:
        asyncio.run(send())
    except RuntimeError as raised:
        error = str(raised)
    return transport.written, transport.closed, error


@pytest.mark.parametrize("changes", [{}, {"method": "HEAD"}, {"keep_alive": False}], ids=str)
@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize(
    "headers",
    [
        [LENGTH],
        [],
        [LENGTH, (b"Location", b"/a%20b"), (b"x-%s", b"%b")],
        [LENGTH, (b"link", b"a"), (b"link", b"b")],
        [LENGTH, (b"connection", b"close")],
        [LENGTH, LENGTH],
        [(b"content-length", b"3")],
        [(b"content-length", b"1")],
        [(b"transfer-encoding", b"chunked")],
        [LENGTH, (b"location", b"a\r\nb")],
        [LENGTH, (b"location", b"a\nb")],
        [LENGTH, (b"location", b"\x00")],
        [LENGTH, (b"a b", b"c")],
        [LENGTH, (b"a\r\n", b"c")],
        [LENGTH, (b"location", "é".encode("latin-1"))],
    ],
    ids=str,
)
def test_the_head_of_a_response_is_that_of_uvicorn(
    status: int, headers: list[Any], changes: dict[str, Any]
) -> None:
    assert sent(_Cycle, status, headers, **changes) == sent(RequestResponseCycle, status, headers, **changes)
