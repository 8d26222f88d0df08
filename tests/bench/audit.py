"""The cost of the record: the ledger's share of a reset, and the times of history, replay and evidence."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations, product
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg

from application.feed.feed import Batch, FeedQuery, read_feed
from application.feed.formats import CLOUD_EVENTS
from application.record.evidence import make_evidence
from application.record.evidence_scope import evidence_scope
from application.record.history import log_items, log_pages, search_log
from application.record.ledger import HistoryQuery
from application.record.proof_nodes import ProofNodes
from application.record.replay import check_streams, stream_ranges
from application.record.stream_heads import StreamHeads
from interface import verify_evidence
from interface.cli.core.messages import escaped_lines
from interface.outbound.files.head_files import HeadFiles
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.system import system_clock
from tests.bench.results import Results, Size, progress
from tests.bench.seed import CLIENT, seed, subject
from tests.bench.stage import Stage, staged
from tests.support.evidence import open_store

_LONG = 10**9
_READS = 5
_OF_THE_LEDGER = re.compile(r"INSERT INTO ledger(_sizes)? [^;]*;")


def ledger_cost(store: str, size: Size, results: Results) -> None:
    """Measure resets with and without the ledger, alternately."""
    most, ratios = max(size.connections), []
    with ExitStack() as stack:
        stages = {
            "with": stack.enter_context(staged(store)),
            "without": stack.enter_context(staged(store, without_ledger=True)),
        }
        if store == "PostgreSQL":
            _forget_the_ledger(stages["without"].url)
        for stage in stages.values():
            stage.measure("reset", most, size.seconds)
        for turn in range(2 * size.rounds):
            speeds = {}
            for ledger, stage in stages.items():
                progress.print(f"{store}: reset, {ledger} the ledger, round {turn + 1}")
                figures = stage.measure("reset", most, size.seconds)
                results.figures.append({"part": "ledger", "ledger": ledger, **figures})
                speeds[ledger] = figures["per_second"]
            ratios.append(speeds["with"] / speeds["without"])
    results.target(f"{store}: reset with the ledger / without", median(ratios), 0.85, at_most=False)


def _forget_the_ledger(url: str) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_get_functiondef('store_changes'::regproc)").fetchone()
        assert row is not None
        definition, found = _OF_THE_LEDGER.subn("", row[0])
        assert found == 2  # the size of the ledger, and its entries
        connection.execute(definition)


def audit(store: str, size: Size, results: Results) -> None:
    """Measure the audit functions over a large ledger."""
    with staged(store, credentials=1) as stage:
        progress.print(f"{store}: filling in a ledger of {size.leaves} entries")
        opened = open_store(stage.url)
        seed(opened, [1], length=size.long_history)
        seed(opened, range(2, 2 + (size.leaves - opened.size(CLIENT)) // 5), length=5)
        opened.keep_times()
        _waits(store, stage, size, results)
        _rename(
            opened, "other", size
        )  # this actor did no reset: two frequent filters have no entry in common
        _searches(store, opened, size, results)
        _rename(opened, "bench", size)
        _feed(store, opened, size, results)
        _export(store, opened, results)
        progress.print(f"{store}: replay")
        [(begin, end)] = stream_ranges(1)
        before = time.process_time()
        findings = check_streams(CLIENT, begin, end, ledger=opened)
        speed = findings.events / (time.process_time() - before)
        opened.close()
        assert not findings.faults
        results.target(
            f"{store}: events replayed and checked per second of a core", speed, 50_000, at_most=False
        )
        _evidence(store, stage, size, results)
        evidence_cost(store, stage, size, results)


def _waits(store: str, stage: Stage, size: Size, results: Results) -> None:
    path = f"http://127.0.0.1:{stage.server.port}/nevisidm/api/core/v1/{CLIENT}/users/{subject(1).user_ext_id}/ticket"
    time.sleep(1)  # `at` has a resolution of seconds
    for title, query in (
        ("a page of its history", "/history"),
        ("its state in the middle", f"?atVersion={size.long_history // 2}"),
        ("its state by date", f"?at={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"),
    ):
        waits = []
        for _ in range(size.reads):
            before = time.perf_counter()
            answer = stage.server.client.get(path + query)
            waits.append((time.perf_counter() - before) * 1000)
            assert answer.status_code == httpx.codes.OK, answer.text
        name = f"{store}: a credential of {size.long_history:,} events, {title}, ms"
        results.target(name, median(waits), 10, at_most=True)
        # The server keeps states, so that later calls fold fewer events.
        results.target(f"{name}, first call", waits[0], 10, at_most=True)


def _rename(opened: SqliteStore | PostgresStore, actor: str, size: Size) -> None:
    """Give the actor of the creations in the second half another name."""
    statement = (
        "UPDATE ledger SET actor = ? WHERE client_ext_id = ? AND topic = 'TicketCreated' AND position > ?"
    )
    opened._run(statement, [(actor, CLIENT, size.leaves // 2)])


def _searches(store: str, opened: SqliteStore | PostgresStore, size: Size, results: Results) -> None:
    """Measure the first page of a search for every pair of filters; for each, the slowest of several values."""
    progress.print(f"{store}: searches")
    newest = opened.entries(CLIENT, opened.size(CLIENT) - 1, 1)[0]
    time_of = partial(datetime.fromisoformat, newest.timestamp)
    values: dict[str, Sequence[Any]] = {
        "user_ext_id": (subject(1).user_ext_id, subject(2).user_ext_id),
        "actor": ("bench", "other", "unknown"),
        "topic": ("TicketRegenerated", "TicketCreated", "TicketDeleted"),
        "trace_id": (newest.trace_id, "0" * 32),
        "begin": (time_of(), time_of() - timedelta(seconds=1)),
        "end": (time_of(), time_of() - timedelta(seconds=1)),
    }
    for pair in combinations(values, 2):
        waits = []
        for found in product(*(values[name] for name in pair)):
            query = HistoryQuery(CLIENT, **dict(zip(pair, found, strict=True)))
            waits.append(_milliseconds(partial(search_log, query, 0, 50, ledger=opened), size))
        name = f"{store}: search by {' and '.join(pair)}, {size.leaves:,} entries, ms"
        results.target(name, max(waits), 10, at_most=True)


def _feed(store: str, opened: SqliteStore | PostgresStore, size: Size, results: Results) -> None:
    """Measure a page of the feed at its beginning, middle and end."""

    def page(after: int) -> bytes:
        query = FeedQuery(CLIENT, after)
        events = read_feed(query, size.page, ledger=opened, origin="tickets")
        return CLOUD_EVENTS.encode_page(query, Batch(after, events, after))

    newest = opened.size(CLIENT)
    waits = [_milliseconds(partial(page, after), size) for after in (0, newest // 2, newest - size.page)]
    name = f"{store}: a page of {size.page:,} events anywhere in the feed, ms"
    results.target(name, max(waits), 25, at_most=True)


def _export(store: str, opened: SqliteStore | PostgresStore, results: Results) -> None:
    """Measure the processor time of the lines of an export."""
    progress.print(f"{store}: export")
    entries, before = 0, time.process_time()
    for page in log_pages(HistoryQuery(CLIENT), ledger=opened):
        escaped_lines(log_items(page, ledger=opened))
        entries += len(page)
    speed = entries / (time.process_time() - before)
    results.target(f"{store}: entries exported per second", speed, 100_000, at_most=False)


def _milliseconds(work: Callable[[], object], size: Size) -> float:
    waits = []
    for _ in range(1 + min(size.reads, _READS)):
        before = time.perf_counter()
        work()
        waits.append((time.perf_counter() - before) * 1000)
    return median(waits[1:])


def _evidence(store: str, stage: Stage, size: Size, results: Results) -> None:
    progress.print(f"{store}: evidence")
    tickets = [str(Path(sys.executable).with_name("tickets"))]
    environment = {"TICKETS_DATABASE_URL": stage.url}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=stage.directory, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    (stage.directory / "key.txt").write_text(run(*tickets, "keys", "public"))
    before = time.perf_counter()
    run(*tickets, "evidence", "export", CLIENT, subject(1).user_ext_id, "-o", "evidence.zip")
    made = time.perf_counter()
    reported = run(sys.executable, verify_evidence.__file__, "evidence.zip", "--key", "key.txt")
    assert reported.startswith("VERIFIED"), reported
    verified = time.perf_counter() - made
    name = f"{store}: evidence from {size.leaves:,} leaves"
    results.target(f"{name}, verified in seconds", verified, 5, at_most=True)
    results.target(f"{name}, made in seconds", made - before, 30, at_most=True)


def evidence_cost(store: str, stage: Stage, size: Size, results: Results) -> None:
    """Measure the CPU time of small evidence in a server, which keeps heads and nodes, and the size of large evidence."""
    progress.print(f"{store}: evidence in a server")
    opened = open_store(stage.url)
    keys = LedgerKeys(stage.directory / "bench-keys", "tickets", clock=system_clock, overlap=timedelta())
    make = partial(
        make_evidence,
        ledger=opened,
        signer=keys,
        clock=system_clock,
    )
    heads, kept_nodes = StreamHeads(saved=HeadFiles(stage.directory / "heads")), ProofNodes()

    def made(number: int) -> tuple[float, int]:
        scope, before = evidence_scope(CLIENT, user=subject(number).user_ext_id), time.process_time()
        with make(scope, heads=heads, kept_nodes=kept_nodes) as file:
            return (time.process_time() - before) * 1000, file.seek(0, os.SEEK_END)

    seed(opened, [_LONG], length=size.long_history)
    # The first process builds the tree of heads; each later one reads the saved tree.
    built = made(2)[0]
    heads, kept_nodes = StreamHeads(saved=HeadFiles(stage.directory / "heads")), ProofNodes()
    first = made(2)[0]
    users = f"http://127.0.0.1:{stage.server.port}/nevisidm/api/core/v1/{CLIENT}/users"
    costs = []
    for _ in range(size.reads):
        # A recorded read, so that each evidence is of another ledger.
        assert (
            stage.server.client.get(f"{users}/{subject(2).user_ext_id}/ticket/history").status_code
            == httpx.codes.OK
        )
        costs.append(made(2)[0])
    name = f"{store}: evidence from {opened.size(CLIENT):,} leaves"
    results.target(f"{name}, made again in a server, ms of CPU", median(costs), 50, at_most=True)
    results.target(f"{name}, first made in a server, ms of CPU", first, 50, at_most=True)
    results.target(f"{name}, made without a saved tree of heads, ms of CPU", built, 3_000, at_most=True)
    mebibytes = made(_LONG)[1] / 2**20
    results.target(f"{store}: evidence of {size.long_history:,} events, MiB", mebibytes, 16, at_most=True)
    opened.close()
