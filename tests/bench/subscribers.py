"""The latency of subscribers and their cost for resets: streams, and pages of the feed at any depth."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import cast

import httpx
import uvloop

from tests.bench.results import Results, Size, progress
from tests.bench.seed import CLIENT, subject
from tests.bench.stage import Stage, staged
from tests.support.server import BASE

_PAGES_AT_A_DEPTH = 15
_BETWEEN_SECONDS = 0.02


class _Stream(asyncio.Protocol):
    """Follows a feed, and records the arrival time of each event."""

    def __init__(self, streams: "_Streams", path: str) -> None:
        self._streams = streams
        self._path = path

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        head = f"GET {self._path} HTTP/1.1\r\nHost: x\r\nAuthorization: {self._streams.authorization}\r\n\r\n"
        self._transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if data.startswith(b"HTTP/1.1 200"):
            self._streams.opened()
        for line in data.split(b"\n"):
            if line.startswith(b"id: "):
                self._streams.came(int(line[4:]), now)

    def close(self) -> None:
        self._transport.abort()


class _Streams:
    """Several streams on one server, on an event loop in a separate thread."""

    def __init__(self, stage: Stage, path: str, count: int) -> None:
        self.authorization = stage.server.client.headers["Authorization"]
        self._count = count
        self._opened = 0
        self._all_opened = threading.Event()
        self._came: dict[int, list[float]] = {}
        self._all_came: dict[int, threading.Event] = {}
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        opening = self._open(stage.server.port, path)
        self._streams = asyncio.run_coroutine_threadsafe(opening, self._loop).result(60)
        assert self._all_opened.wait(60)

    async def _open(self, port: int, path: str) -> list[_Stream]:
        connections = [
            self._loop.create_connection(lambda: _Stream(self, path), "127.0.0.1", port)
            for _ in range(self._count)
        ]
        return [protocol for _, protocol in await asyncio.gather(*connections)]

    def opened(self) -> None:
        self._opened += 1
        if self._opened == self._count:
            self._all_opened.set()

    def came(self, position: int, now: float) -> None:
        times = self._came.setdefault(position, [])
        times.append(now)
        if len(times) == self._count:
            self._all_came.setdefault(position, threading.Event()).set()

    def times(self, position: int) -> list[float]:
        """Return when the event at a position came on each stream."""
        assert self._all_came.setdefault(position, threading.Event()).wait(30), position
        return self._came[position]

    def close(self) -> None:
        for stream in self._streams:
            self._loop.call_soon_threadsafe(stream.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def streaming(stage: Stage, client: str, after: int, count: int) -> Iterator[_Streams]:
    """Yield this many streams that follow a client."""
    streams = _Streams(stage, f"{BASE}/{client}/events/stream?after={after}", count)
    try:
        yield streams
    finally:
        streams.close()


def subscribers(store: str, size: Size, results: Results) -> None:
    """Measure the latency of subscribers and the cost of idle ones."""
    with staged(store) as stage:
        _latency(store, stage, size, results)
        _idle(store, stage, size, results)


def _latency(store: str, stage: Stage, size: Size, results: Results) -> None:
    progress.print(f"{store}: {size.streams} streams, one reset after the other")
    client = stage.server.client
    position = _size(client)
    waits: list[float] = []
    with streaming(stage, CLIENT, position, size.streams) as streams:
        for number in range(size.watched_resets):
            position += 1
            begin = time.perf_counter()
            client.post(f"/{CLIENT}/users/{subject(number).user_ext_id}/ticket/reset").raise_for_status()
            # Measured from the request, so including the time of the reset.
            waits += [(came - begin) * 1000 for came in streams.times(position)]
            time.sleep(_BETWEEN_SECONDS)
    percentiles = quantiles(waits, n=100)
    what = f"{store}: from a reset to {size.streams} streams, ms"
    results.target(f"{what}, p50", percentiles[49], 20, at_most=True)
    results.target(f"{what}, p99", percentiles[98], 150, at_most=True)


def _idle(store: str, stage: Stage, size: Size, results: Results) -> None:
    most, ratios, grown = max(size.connections), [], 0.0
    for turn in range(size.rounds):
        progress.print(f"{store}: reset beside {size.idle_streams} idle streams, round {turn + 1}")
        alone = stage.measure("reset", most, size.seconds)
        before = stage.memory_mib()
        with streaming(stage, "idle", 0, size.idle_streams):
            grown = max(grown, stage.memory_mib() - before)
            beside = stage.measure("reset", most, size.seconds)
        for streams, figures in ((0, alone), (size.idle_streams, beside)):
            results.figures.append({"part": "subscribers", "streams": streams, **figures})
        ratios.append(beside["per_second"] / alone["per_second"])
    results.target(f"{store}: {size.idle_streams:,} idle streams, MiB", grown, 100, at_most=True)
    name = f"{store}: reset beside {size.idle_streams:,} idle streams / alone"
    results.target(name, ratios, 0.8, at_most=False)


def depths(store: str, stage: Stage, size: Size, results: Results) -> None:
    """Measure a page of the feed at several depths of a long ledger."""
    page = size.page
    client = stage.server.client
    end = _size(client)
    progress.print(f"{store}: pages of {page:,} events of a ledger of {end:,}")
    slowest, filtered = 0.0, 0.0
    for depth in range(5):
        after = (end - page) * depth // 4
        slowest = max(slowest, _page_ms(client, f"limit={page}&after={after}"))
        filtered = max(
            filtered, _page_ms(client, f"limit={page}&after={after}&types=TicketCreated,TicketDeleted")
        )
    results.target(f"{store}: a page of {page:,} events of {end:,}, ms", slowest, 25, at_most=True)
    results.target(f"{store}: the same of two types, ms", filtered, 25, at_most=True)


def _page_ms(client: httpx.Client, query: str) -> float:
    waits = []
    for _ in range(_PAGES_AT_A_DEPTH):
        begin = time.perf_counter()
        client.get(f"/{CLIENT}/events?{query}").raise_for_status()
        waits.append((time.perf_counter() - begin) * 1000)
    return median(waits)


def _size(client: httpx.Client) -> int:
    """Return the position of the newest event, by bisection: later positions are unknown."""
    low, high = 0, 2**40
    while low < high:
        middle = (low + high + 1) // 2
        known = client.get(f"/{CLIENT}/events?limit=1&after={middle}").status_code == httpx.codes.OK
        low, high = (middle, high) if known else (low, middle - 1)
    return low
