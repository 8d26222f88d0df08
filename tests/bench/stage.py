"""A server on a store with credentials, and the result of a load on it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.bench import load, textbook
from tests.bench.load import Figures, Request
from tests.bench.seed import CLIENT, TICKET, seed, seed_policy, subject
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.postgres import fresh_database, running_server
from tests.support.server import BASE, Server, given_outbox_key, serving

STORES = ("SQLite", "PostgreSQL")
USERS = 1000
_VAR = Path("var/bench")
_IDLE_SECONDS = 0.005
_TICKET = f"{BASE}/{CLIENT}/users/user-{{}}/ticket"
# First the users for resets, then those for reads and verifications, whose tickets do not change.
OPERATIONS = {
    "no-op": [Request("POST", f"/no-op/{CLIENT}/users/user-{n}") for n in range(USERS)],
    "textbook": [Request("POST", f"/textbook/{CLIENT}/users/user-{n}") for n in range(USERS)],
    "unbatched": [Request("POST", f"/unbatched/{CLIENT}/users/user-{n}") for n in range(USERS)],
    "reset": [Request("POST", f"{_TICKET.format(n)}/reset") for n in range(USERS)],
    "verify": [
        Request("POST", f"{_TICKET.format(USERS + n)}/verify", f'{{"ticket":"{TICKET}"}}')
        for n in range(USERS)
    ],
    "get": [Request("GET", _TICKET.format(USERS + n)) for n in range(USERS)],
}


@dataclass(frozen=True)
class Stage:
    """The running processes; `database` names those of the database if they are separate."""

    store: str
    url: str
    directory: Path
    server: Server
    database: psutil.Process | None

    def measure(self, operation: str, connections: int, seconds: float) -> dict[str, Any]:
        """Load one operation. Returns its figures; for resets also how many were stored and how many lost."""
        before, cpu, stored = self._counts(), self._cpu(), stored_resets(self.url)
        token = self.server.client.headers["Authorization"].removeprefix("Bearer ")
        url = f"http://127.0.0.1:{self.server.port}"
        figures = load.send(
            url, token, OPERATIONS[operation], self.directory, connections=connections, seconds=seconds
        )
        self._settle()
        after, cpu_after = self._counts(), self._cpu()
        commits = after["commits"] - before["commits"]
        result = {
            "store": self.store,
            "operation": operation,
            **asdict(figures),
            "per_second": round(figures.per_second, 1),
            "server_cpu": round((cpu_after[0] - cpu[0]) / figures.seconds, 3),
            "database_cpu": round((cpu_after[1] - cpu[1]) / figures.seconds, 3),
            "client_cpu": round(figures.client_cpu_seconds / figures.seconds, 3),
            "events_per_commit": round((after["events"] - before["events"]) / commits, 1)
            if commits
            else None,
        }
        if operation in ("reset", "unbatched"):
            result |= self._loss(figures, stored)
        return result

    def _settle(self) -> None:
        # wrk abandons its last requests; they must not affect the next measurement.
        busy = True
        while busy:
            before = self._cpu()[0]
            time.sleep(0.05)
            busy = self._cpu()[0] - before > _IDLE_SECONDS

    def _loss(self, figures: Figures, stored_before: int) -> dict[str, int]:
        stored = stored_resets(self.url) - stored_before
        return {"stored": stored, "lost": max(0, figures.answered - stored)}

    def _counts(self) -> dict[str, int]:
        answer = self.server.client.get(f"http://127.0.0.1:{self.server.port}/counts")
        return answer.json() if answer.status_code == 200 else {"commits": 0, "events": 0}

    def _cpu(self) -> tuple[float, float]:
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
    with_textbook: bool = False,
    flush_us: int = 0,
    workers: int = 1,
    smtp_port: int | None = None,
    without_ledger: bool = False,
) -> Iterator[Stage]:
    """Yield a server on a new store; it delivers only with a mail server, since mails cost CPU, too."""
    _VAR.mkdir(parents=True, exist_ok=True)
    preload = slow_flush(flush_us)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_VAR))).resolve()
        url, database = stack.enter_context(_database(store, directory, preload))
        fill(url, credentials)
        given_outbox_key(directory)
        seal_rows(directory, url)
        if with_textbook:
            credentials_app = textbook.open_textbook(url)
            for number in range(USERS):
                credentials_app.create(subject(number).user_ext_id)
            credentials_app.close()
        module = "tests.bench.server" if workers == 1 else "interface.main"
        environment = {**delivery(smtp_port), **preload}
        if without_ledger:
            environment["TICKETS_TEST_WITHOUT_LEDGER"] = "1"
        arguments = ("--workers", str(workers))
        server = stack.enter_context(serving(directory, url, *arguments, module=module, **environment))
        yield Stage(store, url, directory, server, database)


def seal_rows(directory: Path, url: str) -> None:
    """Seal the rows that were written without the service, as in production: otherwise requests compare them with their events."""
    done = tickets(directory, "jobs", "seal", "--finish", TICKETS_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr


def delivery(smtp_port: int | None) -> dict[str, str]:
    """Return the settings of a delivery by a mail server, without a short time limit."""
    if smtp_port is None:
        return {"TICKETS_DELIVER": "false"}
    return {
        "TICKETS_SMTP_URL": f"smtp+plain://127.0.0.1:{smtp_port}",
        "TICKETS_SMTP_TIMEOUT_SECONDS": "3600",
    }


def fill(url: str, credentials: int) -> None:
    """Write this many credentials into an empty store."""
    store = open_store(url)
    seed_policy(store)
    seed(store, range(credentials))
    store.close()


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
    library = _VAR.resolve() / "slow_flush.so"
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
