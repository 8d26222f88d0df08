"""The cost of a command over the size of the store, and the time of a start."""

import http.client
import time
from contextlib import closing, suppress
from statistics import median

from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.group_commit import Background
from tests.bench.results import Results, Size, progress
from tests.bench.seed import CLIENT, seed, subject
from tests.bench.stage import Filled, Stage, reserved_port, service_of, staged
from tests.bench.subscribers import depths
from tests.support.process import start
from tests.support.server import BASE

_STREAMS = 5
_POLL_SECONDS = 0.005
_STARTS_WITHIN_SECONDS = 60


def flatness(store: str, size: Size, results: Results, filled: Filled) -> None:
    """Measure a command, without HTTP, over the length of its stream and the number of credentials."""
    few, many = size.credentials
    long, short = range(many, many + _STREAMS), range(many + _STREAMS, many + 2 * _STREAMS)
    with staged(store, credentials=few) as small, staged(store, filled=filled) as large:
        with closing(Costs(small)) as little, closing(Costs(large)) as big:
            progress.print(f"{store}: filling in streams of {size.stream_length} events")
            seed(little.store, long, length=size.stream_length)
            seed(little.store, short)
            ratios = _ratios(little, long, little, short, size)
            name = f"{store}: cost at stream length {size.stream_length:,} / at 1"
            results.target(name, ratios, 1.05, at_most=True)
            spread = range(0, many, max(1, many // 997))
            ratios = _ratios(big, spread, little, range(few), size)
            name = f"{store}: cost at {many:,} credentials / at {few:,}"
            results.target(name, ratios, 1.1, at_most=True)
        depths(store, large, size, results)
        for operation in ("reset", "get"):
            figures = large.measure(operation, max(size.connections), size.seconds)
            results.figures.append({"part": "flatness", "credentials": many, **figures})
        name = f"{store}: resident memory at {many:,} credentials, MiB"
        results.target(name, large.memory_mib(), 200, at_most=True)


class Costs:
    """Runs resets on a store, one after the other, and returns the cost of each."""

    def __init__(self, stage: Stage) -> None:
        self._running = service_of(stage.directory, stage.url)
        self.store = self._running.store
        self._commands = Background(self._running.commands)
        self._number = 0

    def reset(self, number: int) -> float:
        """Return the seconds that one reset takes."""
        self._number += 1
        command = RegenerateTicket(
            subject=subject(number),
            actor=CLIENT,
            correlation_id="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            command_id=f"{self._number:032x}",
            request_digest="0" * 64,
            overrides_limit=True,
        )
        begin = time.perf_counter()
        self._commands.execute(command)
        return time.perf_counter() - begin

    def close(self) -> None:
        """Stop."""
        self._commands.close()
        self._running.close()


def _ratios(mine: Costs, my_users: range, other: Costs, other_users: range, size: Size) -> list[float]:
    """Return the ratio of the median costs in each round, with alternating resets."""
    ratios = []
    for turn in range(size.rounds):
        costs: tuple[list[float], list[float]] = ([], [])
        for number in range(turn * size.commands, (turn + 1) * size.commands):
            costs[0].append(mine.reset(my_users[number % len(my_users)]))
            costs[1].append(other.reset(other_users[number % len(other_users)]))
        ratios.append(median(costs[0]) / median(costs[1]))
    return ratios


def starts(store: str, size: Size, results: Results, filled: Filled) -> None:
    """Measure the start of a server, from its process to its first answer to a read."""
    few, many = size.credentials
    with staged(store, credentials=few) as stage:
        seconds = _starts(stage, size)
    results.target(f"{store}: start to the first answer, s", seconds, 1.5, at_most=True)
    with staged(store, filled=filled) as stage:
        seconds = _starts(stage, size)
    results.target(f"{store}: start with {many:,} credentials, s", seconds, 2, at_most=True)


def _starts(stage: Stage, size: Size) -> list[float]:
    stage.server.stop()
    with reserved_port() as port:
        return [_seconds_to_answer(stage, port) for _ in range(size.starts)]


def _seconds_to_answer(stage: Stage, port: int) -> float:
    progress.print(f"{stage.store}: start of a server")
    log = stage.directory / "start.log"
    settings = {"TICKETS_DATABASE_URL": stage.url, "TICKETS_DELIVER": "false"}
    headers = {"Authorization": stage.server.client.headers["Authorization"]}
    path = f"{BASE}/{CLIENT}/users/{subject(1).user_ext_id}/ticket"
    begin = time.perf_counter()
    process = start(
        stage.directory, ["serve", "--port", str(port)], out=log, err=log, settings=settings, forked=False
    )
    try:
        while time.perf_counter() - begin < _STARTS_WITHIN_SECONDS and process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            with closing(connection), suppress(ConnectionError):
                connection.request("GET", path, headers=headers)
                status = connection.getresponse().status
                if status != http.client.OK:
                    raise RuntimeError(f"{stage.store}: the first answer is {status}")
                return time.perf_counter() - begin
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"{stage.store}: no answer after the start: {log.read_text()}")
    finally:
        process.kill()
        process.wait()
