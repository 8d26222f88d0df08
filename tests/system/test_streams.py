"""Server-sent events from a real server, over real sockets."""

import json
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.bench.seed import CLIENT, seed
from tests.support.evidence import open_store
from tests.support.server import BASE, NO_DELIVERY, Server, given_outbox_key, serving

EVENTS = 20_000


@contextmanager
def streaming(server: Server, client: str, **headers: str) -> Iterator[Iterator[str]]:
    with server.client.stream("GET", f"/{client}/events/stream", headers=headers) as answer:
        assert answer.status_code == httpx.codes.OK
        yield answer.iter_lines()


def next_event(lines: Iterator[str]) -> dict[str, Any]:
    event: dict[str, Any] = next(json.loads(line[6:]) for line in lines if line.startswith("data: "))
    return event


def reset(server: Server) -> None:
    server.client.post("/client-123/users/user-0/ticket/reset").raise_for_status()


def given_a_ticket(server: Server) -> None:
    server.client.put("/client-123/users/user-0", json={"email": "u@example.com"}).raise_for_status()
    server.client.post("/client-123/users/user-0/ticket").raise_for_status()


def test_a_reader_sees_the_commits_of_another_process_and_resumes(database_url: str, tmp_path: Path) -> None:
    with (
        serving(tmp_path, database_url, **NO_DELIVERY) as server,
        serving(tmp_path, database_url, **NO_DELIVERY) as other,
    ):
        given_a_ticket(other)
        with streaming(server, "client-123") as lines:
            assert next_event(lines)["id"] == "1"
            reset(other)
            assert next_event(lines)["id"] == "2"
        reset(other)
        with streaming(server, "client-123", **{"Last-Event-ID": "2"}) as lines:
            assert next_event(lines)["id"] == "3"
            reset(server)
            assert next_event(lines)["id"] == "4"


def test_a_server_that_stops_sends_an_end(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, **NO_DELIVERY) as server:
        given_a_ticket(server)
        with streaming(server, "client-123") as lines:
            next_event(lines)
            server.process.terminate()
            rest = list(lines)
        server.process.wait(10)

    assert rest[-3] == "event: end"
    assert "is stopping" in rest[-2]


def test_a_reader_that_stalls_costs_no_memory_and_gets_an_end(sqlite_url: str, tmp_path: Path) -> None:
    store = open_store(sqlite_url)
    seed(store, range(EVENTS // 10), length=10)
    store.close()
    given_outbox_key(tmp_path)
    with serving(tmp_path, sqlite_url, **NO_DELIVERY, TICKETS_STREAM_PATIENCE_SECONDS="2") as server:
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", server.port))
            reader.settimeout(30)
            token = server.client.headers["Authorization"]
            reader.sendall(
                f"GET {BASE}/{CLIENT}/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()
            )
            first = reader.recv(100)
            # The reader stalls for longer than the patience, and for less than the four times after which the server gives up.
            end_of_stall = time.monotonic() + 5
            with streaming(server, CLIENT) as lines:
                read = 0
                while read < EVENTS and time.monotonic() < end_of_stall:
                    found, read = next_event(lines), read + 1
                rest = max(0, math.ceil(end_of_stall - time.monotonic()))
                server.client.get(f"/{CLIENT}/events?after={EVENTS}&wait={rest}").raise_for_status()
                grown = process.memory_info().rss - before
                reported = first + b"".join(iter(lambda: reader.recv(1 << 20), b""))
                for _ in range(EVENTS - read):
                    found = next_event(lines)

    assert found["id"] == str(EVENTS)
    assert b"The reader is too slow" in reported[-400:]
    assert reported.count(b"\nid: ") < EVENTS
    assert grown < 64 * 1024 * 1024
