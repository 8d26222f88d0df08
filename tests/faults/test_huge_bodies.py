"""Bodies of 1 GB are rejected with a 413 before they are read, without memory for them."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.load import tracebacks
from tests.support.server import Server, serving
from tests.support.sockets import connect, head, memory, read_to_the_end

GIGABYTE, MEGABYTE = 1 << 30, 1 << 20
BLOCK = bytes(64 * 1024)
# The socket buffers of both sides, and the bytes that are read to avoid a reset of the connection.
MOST_SENT = 32 * MEGABYTE
# Longer than a response takes on a busy machine.
REQUEST_PATIENCE_SECONDS = 120
RESET = "/client-123/users/user-0/ticket/reset"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("huge")
    patience = {"TICKETS_REQUEST_PATIENCE_SECONDS": str(REQUEST_PATIENCE_SECONDS)}
    with serving(directory, f"sqlite:///{directory}/var/tickets.db", **patience) as running:
        yield running
        assert not tracebacks(running)


def send(server: Server, length: str, block: bytes, token: bool = True) -> tuple[int, bytes]:
    """Send a gigabyte unless the server closes the connection; return the number of sent bytes and the response."""
    sent = 0
    with connect(server) as connection:
        given = head(server, "POST", RESET, length)
        connection.sendall(given if token else given.replace(b"Authorization", b"X-Nothing"))
        try:
            while sent < GIGABYTE:
                connection.sendall(block)
                sent += len(block)
        except ConnectionError:
            pass
        return sent, read_to_the_end(connection)


@pytest.mark.parametrize(
    ("length", "block"),
    [
        (f"Content-Length: {GIGABYTE}", BLOCK),
        ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)),
        ("Transfer-Encoding: chunked", b"1\r\n \r\n" * 10_000),
    ],
)
@pytest.mark.parametrize("token", [True, False])
def test_a_gigabyte_is_neither_read_nor_kept(server: Server, length: str, block: bytes, token: bool) -> None:
    before = memory(server)

    sent, answer = send(server, length, block, token)

    assert sent < MOST_SENT
    assert memory(server) - before < MOST_SENT
    # A caller that keeps sending can lose the response by the reset; one with Expect does not: see below.
    assert not answer or answer.split(b"\r\n")[0] in (
        b"HTTP/1.1 413 Request Entity Too Large",
        b"HTTP/1.1 413 Content Too Large",
        b"HTTP/1.1 401 Unauthorized",
    )
    assert server.client.get("/", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("more", "block"),
    [
        (("Content-Length: 1073741824",), b""),
        (("Content-Length: 1073741824", "Expect: 100-continue"), b""),
        (("Content-Length: 1073741824",), BLOCK),
        (("Transfer-Encoding: chunked",), b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)),
    ],
)
def test_a_caller_that_expects_100_continue_gets_413(
    server: Server, more: tuple[str, ...], block: bytes
) -> None:
    answer, began = b"", time.monotonic()
    with connect(server) as connection:
        connection.sendall(head(server, "POST", RESET, *more))
        while not answer:
            connection.settimeout(5)
            connection.sendall(block)
            connection.settimeout(0.1)
            with suppress(TimeoutError):
                answer = connection.recv(65536)
        answer += read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    assert time.monotonic() - began < REQUEST_PATIENCE_SECONDS / 2
