"""Several server processes on one SQLite file (`--workers`): they take turns, and wake the readers of each other."""

import asyncio
import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import psutil

from domain.shared.subject import Subject
from tests.support.evidence import open_store
from tests.support.server import NO_DELIVERY, PATIENCE_SECONDS, Server, serving, until
from tests.support.stores import states_of

CLIENT, USERS = "client-1", 16
CONNECTIONS = 64


def workers_of(server: Server) -> list[psutil.Process]:
    """Return the processes that serve."""
    children = psutil.Process(server.process.pid).children()
    alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]


def given_tickets(server: Server) -> None:
    for number in range(USERS):
        path = f"/{CLIENT}/users/user-{number}"
        server.client.put(path, json={"email": "user@example.com"}).raise_for_status()
        server.client.post(f"{path}/ticket").raise_for_status()


class Callers:
    """Reset tickets on many connections; a request without a response is repeated with its key."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answered: dict[str, list[int]] = {f"user-{number}": [] for number in range(USERS)}
        self.refused = Counter[int]()

    @property
    def count(self) -> int:
        return sum(map(len, self.answered.values()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Reset until the end; each begun reset is answered."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    async def _run(self) -> None:
        async with self._server.concurrent_client() as http:
            await asyncio.gather(*(self._reset(http, f"user-{n % USERS}") for n in range(CONNECTIONS)))

    async def _reset(self, http: httpx.AsyncClient, user: str) -> None:
        while not self._over.is_set():
            key = {"Idempotency-Key": uuid.uuid4().hex}
            while True:
                try:
                    answer = await http.post(f"/{CLIENT}/users/{user}/ticket/reset", headers=key)
                except httpx.TransportError:
                    continue
                if answer.status_code == httpx.codes.OK:
                    self.answered[user].append(answer.json()["resetCount"])
                    break
                self.refused[answer.status_code] += 1
                await asyncio.sleep(0.1)


def test_no_reset_is_lost_or_refused_if_a_process_is_killed_under_load(
    sqlite_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2", **NO_DELIVERY, TICKETS_PUSH="False") as server:
        given_tickets(server)
        callers = Callers(server)
        with callers.running():
            until(lambda: callers.count >= 2 * CONNECTIONS, "resets are answered")
            first = set(workers_of(server))
            os.kill(min(worker.pid for worker in first), signal.SIGKILL)
            until(lambda: len(set(workers_of(server)) - first) == 1, "another is started")
            wanted = callers.count + 2 * CONNECTIONS
            until(lambda: callers.count >= wanted, "further resets are answered")
        assert server.stop() == 0

    with closing(open_store(sqlite_url)) as store:
        rows = states_of(store, [Subject(CLIENT, user) for user in callers.answered])
    for user, counts in callers.answered.items():
        assert sorted(counts) == list(range(1, rows[Subject(CLIENT, user)].reset_count + 1))
    assert callers.refused == {}


def test_readers_in_each_process_are_woken_by_commits_of_the_others(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2") as server, ExitStack() as stack:
        given_tickets(server)
        until(lambda: len(workers_of(server)) == 2, "both run")
        streams: list[httpx.Response] = []

        def followed() -> bool:
            """Open one more stream; return whether each process has one."""
            own = stack.enter_context(
                httpx.Client(
                    base_url=server.client.base_url, headers=server.client.headers, timeout=PATIENCE_SECONDS
                )
            )
            stream = own.stream("GET", f"/{CLIENT}/events/stream?types=TicketRegenerated")
            streams.append(stack.enter_context(stream))
            port = server.port
            return all(
                any(at.laddr.port == port and at.status == "ESTABLISHED" for at in worker.net_connections())
                for worker in workers_of(server)
            )

        until(followed, "each process has a stream")
        for number in range(10):
            answer = server.client.post(
                f"/{CLIENT}/users/user-{number}/ticket/reset",
                # Each over a new connection, so in any process; it waits for the delivery, by any process.
                headers={"Prefer": "wait=30", "Connection": "close"},
            )
            assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=30")
        for stream in streams:
            lines = (line for line in stream.iter_lines() if line.startswith("data:"))
            assert len([next(lines) for _ in range(10)]) == 10
