"""Callers that continue during a fault, their responses, and the check that nothing is lost."""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx

from domain.shared.subject import Subject
from tests.support.evidence import assert_complete, outbox_of
from tests.support.server import Server, until

CLIENT = "client-123"
USERS = [f"user-{number}" for number in range(4)]
CALLERS = 8
# The longest wait of a caller for a 503: for a lock or a connection, and a margin.
LONGEST_SECONDS = 12
# The event loop is not blocked by the store.
ALIVE_WITHIN_SECONDS = 4
_RESET_PAUSE_SECONDS = 0.01
_LOOK_PAUSE_SECONDS = 0.05
_LIVE, _READY = "/livez", "/readyz"


class Answered(NamedTuple):
    """A response as its caller received it."""

    path: str
    began: float
    ended: float
    status: int
    retry_after: str | None


@dataclass
class Load:
    """The results so far. moving: whether the server may be down during a failover."""

    server: Server
    moving: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)
    ends: "list[Future[None]]" = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    resets: dict[str, list[int]] = field(default_factory=lambda: {user: [] for user in USERS})

    def reset_repeatedly(self, user: str) -> None:
        """Reset a ticket; a failed request is repeated with its key until it succeeds."""
        with self._client() as http:
            while not self.stopping.is_set():
                key = uuid.uuid4().hex
                while True:
                    answer = self._send(http, "POST", f"{_ticket(user)}/reset", {"Idempotency-Key": key})
                    time.sleep(_RESET_PAUSE_SECONDS)
                    if answer.status_code == httpx.codes.OK:
                        self.resets[user].append(answer.json()["resetCount"])
                        break

    def read_repeatedly(self) -> None:
        """Read the health checks and a ticket repeatedly."""
        root = self.server.client.base_url.copy_with(raw_path=b"/")
        with self._client() as http:
            while not self.stopping.is_set():
                self._send(http, "GET", str(root.join(_LIVE)))
                self._send(http, "GET", str(root.join(_READY)))
                self._send(http, "GET", _ticket(USERS[0]))
                time.sleep(_LOOK_PAUSE_SECONDS)

    def _client(self) -> httpx.Client:
        known = self.server.client
        return httpx.Client(base_url=known.base_url, headers=known.headers, timeout=60, trust_env=False)

    def _send(
        self, http: httpx.Client, method: str, path: str, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        began = time.monotonic()
        while True:
            try:
                answer = http.request(method, path, headers=headers)
                break
            except httpx.TransportError:
                if not self.moving:
                    raise
                time.sleep(_LOOK_PAUSE_SECONDS)
                began = time.monotonic()
        retry_after = answer.headers.get("Retry-After")
        self.answers.append(
            Answered(answer.request.url.path, began, time.monotonic(), answer.status_code, retry_after)
        )
        return answer

    def stop(self) -> None:
        """Let all callers end after their current responses."""
        self.stopping.set()
        for end in self.ends:
            end.result(60)

    def wait_for_resets(self, resets: int) -> None:
        """Wait until this number of further resets is answered."""
        wanted = resets + sum(map(len, self.resets.values()))
        until(lambda: sum(map(len, self.resets.values())) >= wanted, "resets are answered")

    def refused(self, since: float, path: str = "/reset", seconds: float = 30) -> None:
        """Wait until a later request gets a 503."""
        until(
            lambda: self._found(since, path, httpx.codes.SERVICE_UNAVAILABLE), f"{path} is refused", seconds
        )

    def answers_again(self, since: float, seconds: float = 30) -> float:
        """Wait until a later reset of every user is answered; return the duration."""

        def ended() -> list[float | None]:
            return [
                min(
                    (one.ended for one in self._found(since, f"/{user}/ticket/reset", httpx.codes.OK)),
                    default=None,
                )
                for user in USERS
            ]

        until(lambda: all(ended()), "all callers get responses again", seconds)
        return max(time for time in ended() if time) - since

    def ready_again(self, since: float) -> None:
        """Wait until it reports that it is ready."""
        until(lambda: self._found(since, _READY, httpx.codes.OK), "it is ready")

    def _found(self, since: float, path: str, status: int) -> list[Answered]:
        return [
            one
            for one in list(self.answers)
            if one.began >= since and one.path.endswith(path) and one.status == status
        ]

    def assert_that_it_was_bearable(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        """Assert that all callers got their result, or a 503 with Retry-After, in time."""
        assert {one.status for one in self.answers} <= {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}
        assert all(one.retry_after for one in self.answers if one.status == httpx.codes.SERVICE_UNAVAILABLE)
        assert max(one.ended - one.began for one in self.answers) < longest_seconds
        alive = [one for one in self.answers if one.path == _LIVE]
        assert {one.status for one in alive} == {httpx.codes.OK}
        assert max(one.ended - one.began for one in alive) < ALIVE_WITHIN_SECONDS

    def assert_nothing_lost(self) -> None:
        """Assert that exactly the answered resets are stored, once each, and every ticket is delivered."""
        database_url = self.server.database_url
        until(lambda: not outbox_of(database_url), "everything is delivered")
        subjects = {user: Subject(CLIENT, user) for user in USERS}
        rows = assert_complete(database_url, self.server.directory / "var" / "mail", list(subjects.values()))
        for user, subject in subjects.items():
            assert sorted(self.resets[user]) == list(range(1, rows[subject].reset_count + 1))

    def report(self, fault: str, recoveries: Sequence[float]) -> None:
        """Print the results, for manual runs of the test."""
        refused = [one.ended - one.began for one in self.answers if one.status != httpx.codes.OK]
        statuses = sorted({one.status for one in self.answers})
        longest = max(one.ended - one.began for one in self.answers)
        print(  # noqa: T201
            f"{fault}: {len(self.answers)} answers {statuses}, {len(refused)} refused"
            f" (longest after {max(refused, default=0):.2f} s), longest answer {longest:.2f} s,"
            f" of /livez {max(one.ended - one.began for one in self.answers if one.path == _LIVE):.2f} s,"
            f" recovered after {', '.join(f'{seconds:.2f}' for seconds in recoveries)} s"
        )


@contextmanager
def under_load(server: Server) -> Iterator[Load]:
    """Yield the callers' results; at the end all callers have ended, and each reset has a response."""
    for user in USERS:
        server.client.put(f"/{CLIENT}/users/{user}", json={"email": "u@example.com"}).raise_for_status()
        server.client.post(_ticket(user)).raise_for_status()
    load = Load(server)
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        load.ends.append(pool.submit(load.read_repeatedly))
        for number in range(CALLERS):
            load.ends.append(pool.submit(load.reset_repeatedly, USERS[number % len(USERS)]))
        try:
            load.wait_for_resets(50)
            yield load
        finally:
            load.stop()


def tracebacks(server: Server) -> list[str]:
    """Return the unexpected errors of the log."""
    lines = server.log.read_text().splitlines()
    return [line[:300] for line in lines if "Traceback" in line or "Exception" in line]


def _ticket(user: str) -> str:
    return f"/{CLIENT}/users/{user}/ticket"


@contextmanager
def resetting(server: Server, users: Sequence[str]) -> Iterator[list[int]]:
    """Reset the ticket of each user on its own thread until the end. Yields the number of responses for each."""
    over, answered = threading.Event(), [0] * len(users)

    def reset_on(number: int) -> None:
        while not over.is_set():
            server.client.post(f"{users[number]}/ticket/reset").raise_for_status()
            answered[number] += 1

    threads = [threading.Thread(target=reset_on, args=[number]) for number in range(len(users))]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()
