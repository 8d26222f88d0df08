"""The load: requests on a number of connections for a time, from a separate process.

A closed load sends the next request of a connection after the answer to the last one: wrk, or the client of this module,
`python -m tests.bench.load`. An open load sends requests at a constant rate, whether or not earlier ones are answered, so
that a pause of the server counts for each request that was due in it: always the client of this module. Both take the
requests from one file and report the same figures.
"""

import asyncio
import json
import resource
import shutil
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from math import ceil
from pathlib import Path
from statistics import quantiles
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LUA = Path(__file__).with_name("wrk.lua")
WITH_WRK = shutil.which("wrk") is not None
_HANGS_AFTER_SECONDS = 30


@dataclass(frozen=True)
class Request:
    """A request to send; body: JSON text, or empty for none."""

    method: str
    path: str
    body: str = ""

    def line(self) -> str:
        """Return its line in the file of requests."""
        return f"{self.method}\t{self.path}\t{self.body}\n"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The result of a load. answered: responses with a 2xx; errors: all others; times in milliseconds.

    abandoned: requests whose answers the client did not wait for at its end, though they cost the server CPU, too.
    """

    connections: int
    answered: int
    abandoned: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    client_cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers in a second."""
        return self.answered / self.seconds


def send(
    url: str,
    token: str,
    requests: list[Request],
    directory: Path,
    *,
    connections: int,
    seconds: float,
    rate: float = 0,
) -> Figures:
    """Send the requests one after the other, repeatedly. rate: requests per second of an open load; 0: a closed load.

    In an open load, the time of an answer counts from the planned time of its request. Raises RuntimeError if the client
    fails.
    """
    file = directory / "requests.tsv"
    file.write_text("".join(request.line() for request in requests))
    with_wrk = WITH_WRK and not rate
    if with_wrk:
        # wrk takes complete seconds only.
        options = ["-t1", f"-c{connections}", f"-d{ceil(seconds)}s", "--timeout", f"{_HANGS_AFTER_SECONDS}s"]
        command = ["wrk", *options, "-s", str(_LUA), url, "--", str(file), token]
    else:
        arguments = [url, token, str(file), str(connections), str(seconds), str(rate)]
        command = [sys.executable, "-m", "tests.bench.load", *arguments]
    before = _cpu_of_children()
    client = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    results = [line for line in client.stdout.splitlines() if line.startswith("RESULT ")]
    if client.returncode or not results:
        raise RuntimeError(f"the load client failed: {client.stdout.replace(token, '***')}")
    cpu = _cpu_of_children() - before
    return Figures(
        connections=connections,
        abandoned=connections if with_wrk else 0,
        client_cpu_seconds=cpu,
        **json.loads(results[0][7:]),
    )


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Connection(asyncio.Protocol):
    """Sends the requests that the load gives it, one after the other."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._buffer = b""
        self._begin = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a different type
        self._load.is_free(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < _content_length(head):
            return
        self._load.costs.append(time.perf_counter() - self._begin)
        self._load.answered += head[9:10] == b"2"
        self._buffer = b""
        self._load.is_free(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._load.closed()

    def send(self, begin: float) -> None:
        """Send the next request. begin: the time from which its answer counts."""
        self._begin = begin
        self._load.sent += 1
        self._transport.write(next(self._load.requests))

    def close(self) -> None:
        self._transport.close()


class _Load:
    """A closed load: a connection sends its next request when it is free."""

    def __init__(self, requests: list[bytes], connections: int, seconds: float) -> None:
        self.requests = cycle(requests)
        self.costs: list[float] = []
        self.answered = 0
        self.sent = 0
        self._open = connections
        self._end = time.perf_counter() + seconds
        self.ended = asyncio.Event()

    def is_free(self, connection: _Connection) -> None:
        now = time.perf_counter()
        if now < self._end:
            connection.send(now)
        else:
            connection.close()

    def closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.ended.set()


class _OpenLoad(_Load):
    """An open load: each request is due at a planned time, and waits for a free connection from then on."""

    def __init__(self, requests: list[bytes], connections: int, seconds: float, rate: float) -> None:
        super().__init__(requests, connections, seconds)
        self._free: deque[_Connection] = deque()
        self._late: deque[float] = deque()
        begin = time.perf_counter() + 0.1  # once the connections are open
        self._planned = deque(begin + number / rate for number in range(int(seconds * rate)))
        asyncio.get_running_loop().call_soon(self._send_due)

    def is_free(self, connection: _Connection) -> None:
        if self._late:
            connection.send(self._late.popleft())
        elif self._planned:
            self._free.append(connection)
        else:
            connection.close()

    def _send_due(self) -> None:
        now = time.perf_counter()
        while self._planned and self._planned[0] <= now:
            self._late.append(self._planned.popleft())
        while self._late and self._free:
            self._free.popleft().send(self._late.popleft())
        if self._planned:
            asyncio.get_running_loop().call_later(self._planned[0] - now, self._send_due)
            return
        while self._free:
            self._free.popleft().close()


def _content_length(head: bytes) -> int:
    lower = head.lower()
    start = lower.find(b"content-length:")
    return int(lower[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def _requests(url: str, token: str, file: str) -> list[bytes]:
    where = urlsplit(url)
    requests = []
    for line in Path(file).read_text().splitlines():
        method, path, body = line.split("\t")
        head = f"{method} {path} HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {token}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        elif method != "GET":
            head += "Content-Length: 0\r\n"
        requests.append(f"{head}\r\n{body}".encode())
    return requests


async def _run(url: str, requests: list[bytes], connections: int, seconds: float, rate: float) -> None:
    where = urlsplit(url)
    begin = time.perf_counter()
    load = _OpenLoad(requests, connections, seconds, rate) if rate else _Load(requests, connections, seconds)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(load), str(where.hostname), where.port or 80)
    await asyncio.wait_for(load.ended.wait(), seconds + _HANGS_AFTER_SECONDS)
    percentiles = quantiles(load.costs, n=100)
    figures = {
        "answered": load.answered,
        "errors": load.sent - load.answered,
        "seconds": time.perf_counter() - begin,
        "p50_ms": percentiles[49] * 1000,
        "p99_ms": percentiles[98] * 1000,
    }
    print("RESULT", json.dumps(figures), flush=True)  # noqa: T201


if __name__ == "__main__":
    _, url, token, file, connections, seconds, rate = sys.argv
    uvloop.run(_run(url, _requests(url, token, file), int(connections), float(seconds), float(rate)))
