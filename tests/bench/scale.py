"""The capacity of one event log, and its limits: `python -m tests.bench.scale` prints the figures of docs/scale.md.

First the complete service with one to three processes, then the database alone, which is given ready batches by several
connections: of one client, whose ledger they wait for, or each of a separate one. Each part runs without a standby, with
one, and with one that every commit waits for.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import psycopg

from application.delivery.outbox import OUTBOX, OutboxEntry
from application.tickets.records import save
from application.transaction.records import Changes, LoadedState
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import DEFAULT_POLICY, OFF
from domain.shared.attribution import Attribution
from domain.shared.subject import Subject
from domain.tickets.states import State
from domain.tickets.ticket import ClearTicket, hash_ticket
from domain.tickets.ticket_credential import TicketCredential
from domain.tickets.validity import Validity
from interface.composition.register import TABLES
from interface.outbound.sql.postgres_store import PostgresStore
from tests.bench import load
from tests.bench.stage import OPERATIONS, USERS, fill
from tests.support.postgres import fresh_database
from tests.support.server import NO_DELIVERY, serving
from tests.support.standby import Standby, standing_by

CONNECTIONS = 4
# The size of a sealed ticket in an outbox row.
_SEALED = bytes(60)
_WAITS = """
SELECT coalesce(wait_event_type || '/' || wait_event, 'running') FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of the measurement. seconds, rounds: of each load; batches: events of a commit; processes: of the service."""

    seconds: float = 4
    rounds: int = 2
    batches: tuple[int, ...] = (1, 32, 128)
    processes: tuple[int, ...] = (1, 2, 3)


def service(url: str, processes: int, size: Size) -> tuple[float, float, float]:
    """Return resets per second, and the median and 99th percentile of their time in milliseconds."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fill(directory, url, 2 * USERS)
        server = stack.enter_context(serving(directory, url, "--workers", str(processes), **NO_DELIVERY))
        token = server.client.headers["Authorization"].removeprefix("Bearer ")
        address = f"http://127.0.0.1:{server.port}"
        found = [
            load.send(address, token, OPERATIONS["reset"], directory, connections=64, seconds=size.seconds)
            for _ in range(1 + size.rounds)
        ][1:]
    assert not any(figures.errors for figures in found)
    return (
        median(figures.per_second for figures in found),
        median(figures.p50_ms for figures in found),
        median(figures.p99_ms for figures in found),
    )


def database(url: str, batch: int, seconds: float, *, one_client: bool) -> tuple[float, dict[str, float]]:
    """Return events per second of several connections, and the shares of their wait events."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(CONNECTIONS + 1)
    done = context.SimpleQueue()
    writers = [
        context.Process(
            target=_write,
            args=(url, "shared" if one_client else f"client-{number}", number, batch, seconds, ready, done),
        )
        for number in range(CONNECTIONS)
    ]
    for writer in writers:
        writer.start()
    waits: dict[str, int] = {}
    with psycopg.connect(url, autocommit=True) as watching:
        ready.wait()
        end = time.monotonic() + 0.9 * seconds
        while time.monotonic() < end:
            for (wait,) in watching.execute(_WAITS).fetchall():
                waits[wait] = waits.get(wait, 0) + 1
            time.sleep(0.01)
    for writer in writers:
        writer.join()
    total = sum(waits.values())
    shares = {wait: count / total for wait, count in sorted(waits.items(), key=lambda item: -item[1])[:3]}
    return sum(done.get() for _ in writers) / seconds, shares


def _write(
    url: str,
    client: str,
    number: int,
    batch: int,
    seconds: float,
    ready: Barrier,
    done: "multiprocessing.SimpleQueue[int]",
) -> None:
    with closing(PostgresStore(url, TABLES)) as store:
        batches = _batches(client, f"{batch}-{number}-{time.monotonic_ns()}", batch)
        store.commit(next(batches))
        ready.wait()
        end, written = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            store.commit(next(batches))
            written += batch
        done.put(written)


def _batches(client: str, name: str, batch: int) -> Iterator[Changes]:
    """Yield the changes of endless resets of this many users."""
    now = datetime.now(UTC)
    ticket = ClearTicket("the-ticket-of-the-bench")
    ticket_hash = hash_ticket(ticket, b"the salt of the bench")
    validity = Validity.by(DEFAULT_POLICY, now)
    by = Attribution(
        timestamp=now,
        actor="bench",
        reason=None,
        correlation_id="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        command_id="0" * 32,
        request_digest="0" * 64,
    )
    subjects = [Subject(client, f"{name}-{number}") for number in range(batch)]
    credentials = [TicketCredential.of(subject, None) for subject in subjects]
    for subject, credential in zip(subjects, credentials, strict=True):
        credential.create(
            subject,
            ext_id=subject.user_ext_id,
            policy_ext_id="default",
            state=State.ACTIVE,
            ticket_hash=ticket_hash,
            validity=validity,
            daily_limit=OFF,
            by=by,
        )
    known = LoadedState()
    while True:
        unit = UnitOfWork(known)
        for credential in credentials:
            state = save(unit, credential)
            entry = OutboxEntry(state.subject, state.stream, state.version, _SEALED, state.last_modified)
            unit.put(OUTBOX, entry.key, entry)
        Changes().add(unit.changes, known)
        yield unit.changes
        for credential in credentials:
            credential.regenerate(DEFAULT_POLICY, lambda: (ticket, ticket_hash), daily_limit=OFF, by=by)


@contextmanager
def synchronous(standby: Standby) -> Iterator[None]:
    """Replicate commits synchronously until the end."""
    with psycopg.connect(standby.primary_url, autocommit=True) as primary:
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        yield
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        primary.execute("SELECT pg_reload_conf()")


def _measure(standby: Standby, size: Size, *, alone: bool) -> None:
    kinds: dict[str, Callable[[], AbstractContextManager[None]]] = {"alone": nullcontext}
    if not alone:
        kinds = {"standby": nullcontext, "synchronous": partial(synchronous, standby)}
    for batch, one_client in product(size.batches, (True, False)):
        for kind, setting in kinds.items():
            with fresh_database(standby.primary_url) as url, setting():
                per_second, waits = database(url, batch, size.seconds, one_client=one_client)
            whose = "one client" if one_client else "a client each"
            shares = ", ".join(f"{wait} {share:.0%}" for wait, share in waits.items())
            _print(
                f"{kind}, {CONNECTIONS} connections, {whose}, {batch} a commit: {per_second:,.0f}/s ({shares})"
            )
    for processes in size.processes:
        for kind, setting in kinds.items():
            with fresh_database(standby.primary_url) as url, setting():
                per_second, p50, p99 = service(url, processes, size)
            _print(
                f"{kind}, {processes} processes: {per_second:,.0f} resets/s, p50 {p50:.0f}, p99 {p99:.0f} ms"
            )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(size: Size) -> None:
    """Measure everything; Size() takes about five minutes."""
    with standing_by() as standby:
        _measure(standby, size, alone=False)
        standby.kill()
        _measure(standby, size, alone=True)


if __name__ == "__main__":
    main(Size())
