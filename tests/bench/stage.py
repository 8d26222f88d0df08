"""A server on a store with credentials, and the result of a load on it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import psycopg
import pytest

from interface.composition.service import RunningService, start
from interface.settings import Settings
from tests.bench import load, textbook
from tests.bench.load import Request
from tests.bench.seed import CLIENT, TICKET, seed, seed_policy, subject
from tests.support.postgres import fresh_database, running_server
from tests.support.server import BASE, Server, given_outbox_key, keys_of, serving, until

STORES = ("SQLite", "PostgreSQL")
USERS = 1000
VAR = Path("var/bench")
_IDLE_SECONDS = 0.005
_TICKET = f"{BASE}/{CLIENT}/users/user-{{}}/ticket"
# First the users for resets, then those for reads and verifications, whose tickets do not change.
OPERATIONS = {
    "bare": [Request("POST", f"{_TICKET.format(n)}/reset") for n in range(USERS)],
    "no-op": [Request("POST", f"/no-op/{CLIENT}/users/user-{n}") for n in range(USERS)],
    "textbook": [Request("POST", f"/textbook/{CLIENT}/users/user-{n}") for n in range(USERS)],
    "reset": [Request("POST", f"{_TICKET.format(n)}/reset") for n in range(USERS)],
    "verify": [
        Request("POST", f"{_TICKET.format(USERS + n)}/verify", f'{{"ticket":"{TICKET}"}}')
        for n in range(USERS)
    ],
    "get": [Request("GET", _TICKET.format(USERS + n)) for n in range(USERS)],
}


class Filled(NamedTuple):
    """A store with credentials: the directory of its servers, its URL, and the processes of its database if separate."""

    directory: Path
    url: str
    database: psutil.Process | None


class Bare(NamedTuple):
    """The process and the port of the bare ASGI app."""

    process: subprocess.Popen[bytes]
    port: int


@dataclass(frozen=True)
class Stage:
    """The running processes; `database` names those of the database if they are separate, `bare` the bare ASGI app."""

    store: str
    url: str
    directory: Path
    server: Server
    database: psutil.Process | None
    bare: Bare | None = None

    def measure(self, operation: str, connections: int, seconds: float, *, rate: float = 0) -> dict[str, Any]:
        """Load one operation. Returns its figures; for resets also how many were stored.

        rate: requests per second of an open load; 0: a closed load. Raises RuntimeError if a response is an error, or an
        answered reset is not stored.
        """
        is_bare = operation == "bare"
        before, cpu = self._counts(), self._cpu(is_bare=is_bare)
        stored = stored_resets(self.url) if operation == "reset" else 0
        token = self.server.client.headers["Authorization"].removeprefix("Bearer ")
        port = self.bare.port if self.bare and is_bare else self.server.port
        figures = load.send(
            f"http://127.0.0.1:{port}",
            token,
            OPERATIONS[operation],
            self.directory,
            connections=connections,
            seconds=seconds,
            rate=rate,
        )
        self._settle(is_bare=is_bare)
        after, cpu_after = self._counts(), self._cpu(is_bare=is_bare)
        if figures.errors or not figures.answered:
            raise RuntimeError(
                f"{self.store}: {operation}: {figures.errors} responses of {figures.errors + figures.answered} are errors"
            )
        commits = after["commits"] - before["commits"]
        server_cpu, database_cpu = (later - earlier for later, earlier in zip(cpu_after, cpu, strict=True))
        result = {
            "store": self.store,
            "operation": operation,
            **asdict(figures),
            "rate": round(rate, 1),
            "per_second": round(figures.per_second, 1),
            "cpu_us": round((server_cpu + database_cpu) / (figures.answered + figures.abandoned) * 1e6, 1),
            "server_cpu": round(server_cpu / figures.seconds, 3),
            "database_cpu": round(database_cpu / figures.seconds, 3),
            "client_cpu": round(figures.client_cpu_seconds / figures.seconds, 3),
            "memory_mib": round(self.memory_mib(), 1),
            "events_per_commit": round((after["events"] - before["events"]) / commits, 1)
            if commits
            else None,
        }
        if operation == "reset":
            result["stored"] = stored_resets(self.url) - stored
            if result["stored"] < figures.answered:
                raise RuntimeError(
                    f"{self.store}: {figures.answered} resets were answered, {result['stored']} are stored"
                )
        return result

    def _settle(self, *, is_bare: bool) -> None:
        # wrk abandons its last requests; they must not affect the next measurement.
        busy = True
        while busy:
            before = self._cpu(is_bare=is_bare)[0]
            time.sleep(0.05)
            busy = self._cpu(is_bare=is_bare)[0] - before > _IDLE_SECONDS

    def _counts(self) -> dict[str, int]:
        answer = self.server.client.get(f"http://127.0.0.1:{self.server.port}/counts")
        return answer.json() if answer.status_code == 200 else {"commits": 0, "events": 0}

    def _cpu(self, *, is_bare: bool) -> tuple[float, float]:
        """Return the seconds of CPU of the server and of its database."""
        if self.bare and is_bare:
            return _cpu_of(psutil.Process(self.bare.process.pid)), 0.0
        server = psutil.Process(self.server.process.pid)
        return _cpu_of(server), _cpu_of(self.database) if self.database else 0.0

    def memory_mib(self) -> float:
        """Return the resident memory of the largest server process."""
        server = psutil.Process(self.server.process.pid)
        return max(float(p.memory_info().rss) for p in [server, *server.children(recursive=True)]) / 2**20


@contextmanager
def staged(
    store: str,
    *,
    credentials: int = 2 * USERS,
    filled: Filled | None = None,
    with_bare: bool = False,
    with_textbook: bool = False,
    flush_us: int = 0,
    workers: int = 1,
    module: str = "tests.bench.server",
    smtp_port: int | None = None,
    without_ledger: bool = False,
) -> Iterator[Stage]:
    """Yield a server on a new store, or on a filled one; it delivers only with a mail server, since mails cost CPU, too."""
    preload = slow_flush(flush_us)
    with ExitStack() as stack:
        directory, url, database = filled or stack.enter_context(new_store(store, preload))
        if filled is None:
            fill(directory, url, credentials)
        if with_textbook:
            credentials_app = textbook.open_textbook(url)
            credentials_app.create(*(subject(number).user_ext_id for number in range(USERS)))
            credentials_app.close()
        environment = {**delivery(smtp_port), **preload}
        if without_ledger:
            environment["TICKETS_TEST_WITHOUT_LEDGER"] = "1"
        arguments = ("--workers", str(workers))
        server = stack.enter_context(serving(directory, url, *arguments, module=module, **environment))
        bare = stack.enter_context(bare_app()) if with_bare else None
        yield Stage(store, url, directory, server, database, bare)


@contextmanager
def bare_app() -> Iterator[Bare]:
    """Yield the running bare ASGI app."""

    def answers() -> bool:
        assert process.poll() is None
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}", trust_env=False).is_success
        return False

    with reserved_port() as port:
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.bare", str(port)])
        try:
            until(answers, "the bare ASGI app answers")
            yield Bare(process, port)
        finally:
            process.kill()
            process.wait()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that only sockets with SO_REUSEADDR can use until the end."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def delivery(smtp_port: int | None) -> dict[str, str]:
    """Return the settings of a delivery by a mail server, without a short time limit."""
    if smtp_port is None:
        return {"TICKETS_DELIVER": "false"}
    return {
        "TICKETS_SMTP_URL": f"smtp+plain://127.0.0.1:{smtp_port}",
        "TICKETS_SMTP_TIMEOUT_SECONDS": "3600",
    }


def service_of(directory: Path, url: str) -> RunningService:
    """Return the service, without HTTP, with the keys of the servers in a directory."""
    return start(Settings(database_url=url, migrate_at_start=True, deliver=False, **keys_of(directory)))


def fill(directory: Path, url: str, credentials: int) -> None:
    """Write this many credentials into an empty store, with the row seals of the servers in a directory."""
    given_outbox_key(directory)
    running = service_of(directory, url)
    seed_policy(running.store)
    seed(running.store, range(credentials))
    running.close()


@contextmanager
def new_store(store: str, preload: dict[str, str] | None = None) -> Iterator[Filled]:
    """Yield an empty store in a new directory."""
    VAR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VAR) as name:
        directory = Path(name).resolve()
        with _database(store, directory, preload or {}) as (url, database):
            yield Filled(directory, url, database)


@contextmanager
def filled_stores(stores: Sequence[str], credentials: int) -> Iterator[dict[str, Filled]]:
    """Yield new stores with this many credentials; they are filled at the same time, each by a separate process."""
    with ExitStack() as stack:
        found = {store: stack.enter_context(new_store(store)) for store in stores}
        fillers = [
            subprocess.Popen([sys.executable, "-m", __name__, directory, url, str(credentials)])
            for directory, url, _ in found.values()
        ]
        if any([filler.wait() for filler in fillers]):  # noqa: C419 - waits for each
            raise RuntimeError(f"{credentials} credentials were not written")
        yield found


@contextmanager
def _database(
    store: str, directory: Path, preload: dict[str, str]
) -> Iterator[tuple[str, psutil.Process | None]]:
    if store == "SQLite":
        yield f"sqlite:///{directory}/var/tickets.db", None
        return
    with pytest.MonkeyPatch.context() as environment:
        if preload:
            # A running server would not load it.
            environment.delenv("TICKETS_TEST_DATABASE_URL", raising=False)
        for name, value in preload.items():
            environment.setenv(name, value)
        with running_server() as server_url, fresh_database(server_url) as url:
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT pg_backend_pid()").fetchone()
                assert row is not None
                postmaster = psutil.Process(row[0]).parent()
            yield url, postmaster


def slow_flush(microseconds: int) -> dict[str, str]:
    """Return the environment in which a flush takes this much longer. Needs a C compiler."""
    if not microseconds:
        return {}
    library = VAR.resolve() / "slow_flush.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("slow_flush.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "TICKETS_TEST_FLUSH_US": str(microseconds)}


def stored_resets(url: str) -> int:
    """Return the number of resets in the event log, read from the database."""
    statement = "SELECT count(*) FROM ticket_events WHERE topic = 'TicketRegenerated'"
    if url.startswith("sqlite:"):
        import sqlite3  # noqa: PLC0415

        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return int(connection.execute(statement).fetchone()[0])
        finally:
            connection.close()
    with psycopg.connect(url) as postgres:
        row = postgres.execute(statement).fetchone()
        return int(row[0]) if row else 0


def _cpu_of(process: psutil.Process) -> float:
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    # Ended processes count with their parent.
    times = process.cpu_times()
    return float(total + times.children_user + times.children_system)


def environment() -> dict[str, str]:
    """Return the environment of the figures."""
    return {"processor": _processor(), "cores": str(os.cpu_count()), "kernel": os.uname().release}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
