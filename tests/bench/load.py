"""The load: requests on a number of connections for a time, from a separate process.

wrk sends them if it is on the PATH, otherwise the client of this module, `python -m tests.bench.load`. Both take the
requests from one file and report the same figures.
"""

import asyncio
import json
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LUA = Path(__file__).with_name("wrk.lua")
WITH_WRK = shutil.which("wrk") is not None


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
    """The result of a load. answered: responses with a 2xx; errors: all others; times in milliseconds."""

    connections: int
    answered: int
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
    url: str, token: str, requests: list[Request], directory: Path, *, connections: int, seconds: float
) -> Figures:
    """Send the requests one after the other, repeatedly. Raises RuntimeError if the client fails."""
    file = directory / "requests.tsv"
    file.write_text("".join(request.line() for request in requests))
    if WITH_WRK:
        options = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(_LUA)]
        command = ["wrk", *options, url, "--", str(file), token]
    else:
        command = [
            sys.executable,
            "-m",
            "tests.bench.load",
            url,
            token,
            str(file),
            str(connections),
            str(seconds),
        ]
    before = _cpu_of_children()
    client = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    results = [line for line in client.stdout.splitlines() if line.startswith("RESULT ")]
    if client.returncode or not results:
        raise RuntimeError(f"the load client failed: {client.stdout}")
    cpu = _cpu_of_children() - before
    return Figures(connections=connections, client_cpu_seconds=cpu, **json.loads(results[0][7:]))


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Connection(asyncio.Protocol):
    """Sends one request after the other until the end, and waits for the last response."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._buffer = b""
        self._begin = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a different type
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < _content_length(head):
            return
        self._load.costs.append(time.perf_counter() - self._begin)
        self._load.answered += head[9:10] == b"2"
        self._buffer = b""
        if time.perf_counter() < self._load.end:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._load.open -= 1
        if self._load.open == 0:
            self._load.ended.set()

    def _send(self) -> None:
        self._begin = time.perf_counter()
        self._load.sent += 1
        self._transport.write(next(self._load.requests))


class _Load:
    def __init__(self, requests: list[bytes], connections: int, seconds: float) -> None:
        self.requests = cycle(requests)
        self.costs: list[float] = []
        self.answered = 0
        self.sent = 0
        self.open = connections
        self.end = time.perf_counter() + seconds
        self.ended = asyncio.Event()


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


async def _run(url: str, requests: list[bytes], connections: int, seconds: float) -> None:
    where = urlsplit(url)
    begin = time.perf_counter()
    load = _Load(requests, connections, seconds)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(load), str(where.hostname), where.port or 80)
    await load.ended.wait()
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
    _, url, token, file, connections, seconds = sys.argv
    uvloop.run(_run(url, _requests(url, token, file), int(connections), float(seconds)))
