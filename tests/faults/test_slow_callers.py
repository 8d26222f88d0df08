"""Callers that send byte by byte or endless heads, or read nothing, are disconnected in a bounded time."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.support.load import tracebacks, under_load
from tests.support.server import Server, serving, until
from tests.support.sockets import connect, connections, drip, head, memory, read_alive

PATIENCE_SECONDS = 2
EVERY_SECONDS = 0.2
SLOW = 20
MEGABYTE = 1 << 20
USER = "/client-123/users/user-0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("slow")
    patience = {
        "TICKETS_REQUEST_PATIENCE_SECONDS": str(PATIENCE_SECONDS),
        "TICKETS_STREAM_PATIENCE_SECONDS": "1",
    }
    with serving(directory, f"sqlite:///{directory}/var/tickets.db", **patience) as running:
        yield running
        assert not tracebacks(running)


def assert_cut_off_in_time(seconds: float) -> None:
    assert PATIENCE_SECONDS - EVERY_SECONDS < seconds < PATIENCE_SECONDS + 3


def head_byte_by_byte(server: Server) -> tuple[float, bytes]:
    line = iter(b"GET /livez HTTP/1.1\r\nX-Slow: " + b"x" * 10_000)
    with connect(server) as connection:
        return drip(connection, lambda: bytes([next(line)]), EVERY_SECONDS)


def body_byte_by_byte(server: Server) -> tuple[float, bytes]:
    with connect(server) as connection:
        connection.sendall(head(server, "POST", f"{USER}/ticket/reset", "Content-Length: 10000"))
        return drip(connection, lambda: b" ", EVERY_SECONDS)


def chunks_byte_by_byte(server: Server) -> tuple[float, bytes]:
    with connect(server) as connection:
        connection.sendall(head(server, "POST", f"{USER}/ticket/reset", "Transfer-Encoding: chunked"))
        return drip(connection, lambda: b"1\r\n \r\n", EVERY_SECONDS)


def test_slow_senders_are_disconnected_while_others_are_served(server: Server) -> None:
    ways = (head_byte_by_byte, body_byte_by_byte, chunks_byte_by_byte)
    with under_load(server) as load, ThreadPoolExecutor(SLOW * len(ways)) as pool:
        ends = [pool.submit(way, server) for way in ways for _ in range(SLOW)]
        cut_off = [end.result(30) for end in ends]
        load.answers_again(time.monotonic())
        load.stop()
        load.report("slow callers", [])
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()

    for seconds, answer in cut_off:
        assert_cut_off_in_time(seconds)
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"connection: close" in answer
        assert b'"code":"errors.invalidData"' in answer


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_connection_without_a_request_is_closed(server: Server, sent: bytes) -> None:
    with connect(server) as connection:
        seconds, answer = drip(connection, lambda: sent, EVERY_SECONDS)
    assert_cut_off_in_time(seconds)
    assert answer == b""


def test_a_connection_stays_open_while_its_requests_arrive_in_time(server: Server) -> None:
    with connect(server) as connection:
        for _ in range(3):
            request = b"GET /livez HTTP/1.1\r\nHost: tickets\r\n\r\n"
            connection.sendall(request[:10])
            time.sleep(PATIENCE_SECONDS / 2)
            connection.sendall(request[10:])
            assert read_alive(connection).startswith(b"HTTP/1.1 200 ")


def test_an_endless_head_is_rejected(server: Server) -> None:
    before, number = memory(server), count()
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        _, answer = drip(connection, lambda: b"X-%d: %s\r\n" % (next(number), b"x" * 8000), 0.001)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer  # the response can be lost by the reset
    assert next(number) * 8000 < 8 * MEGABYTE
    assert memory(server) - before < 16 * MEGABYTE


def test_endless_trailers_are_cut_off(server: Server) -> None:
    before, number = memory(server), count()
    with connect(server) as connection:
        connection.sendall(head(server, "POST", f"{USER}/ticket/reset", "Transfer-Encoding: chunked"))
        connection.sendall(b"0\r\n")
        drip(connection, lambda: b"X-%d: %s\r\n" % (next(number), b"x" * 60_000), 0.001)
    assert next(number) * 60_000 < 16 * MEGABYTE
    assert memory(server) - before < 32 * MEGABYTE


def test_a_reader_that_reads_nothing_is_disconnected(server: Server) -> None:
    before = connections(server)
    with connect(server) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: tickets\r\n\r\n" * 400)
        until(lambda: connections(server) > before, "it is connected")
        until(lambda: connections(server) <= before, "it is cut off")
