"""Callers below HTTP, which send and read bytes and open any number of connections."""

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.support.server import BASE, Server


def connect(server: Server) -> socket.socket:
    """Return a new connection."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def head(server: Server, method: str, path: str, *more: str) -> bytes:
    """Return the head of an authorised request."""
    lines = [
        f"{method} {BASE}{path} HTTP/1.1",
        "Host: tickets",
        f"Authorization: {server.client.headers['Authorization']}",
        "Content-Type: application/json",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def drip(
    connection: socket.socket, content: Callable[[], bytes], every_seconds: float
) -> tuple[float, bytes]:
    """Send repeatedly until the server closes the connection; return the elapsed time and the response."""
    began, answer = time.monotonic(), b""
    connection.settimeout(every_seconds)
    while True:
        try:
            connection.sendall(content())
            received = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            received = b""
        if not received:
            return time.monotonic() - began, answer
        answer += received


def read_to_the_end(connection: socket.socket) -> bytes:
    """Return the received bytes until the server closes the connection."""
    answer = b""
    try:
        while received := connection.recv(65536):
            answer += received
    except ConnectionError:
        pass
    return answer


def read_alive(connection: socket.socket) -> bytes:
    """Return a complete response of `/livez`, which arrives in pieces, on a persistent connection."""
    answer = b""
    while not answer.endswith(b'{"status":"alive"}'):
        received = connection.recv(65536)
        assert received, answer
        answer += received
    return answer


def memory(server: Server) -> int:
    """Return the memory of a server's processes in bytes."""
    return sum(process.memory_info().rss for process in processes(server))


def connections(server: Server) -> int:
    """Return the number of the server's connections."""
    found = [one for process in processes(server) for one in process.net_connections("tcp")]
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == server.port for one in found)


def processes(server: Server) -> list[psutil.Process]:
    """Return the processes of a server."""
    process = psutil.Process(server.process.pid)
    return [process, *process.children(recursive=True)]


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Raise the limit of open files of this process and its children; skips if that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"a process may have {hard} files open here: {count} are needed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
