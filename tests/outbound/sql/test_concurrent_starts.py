"""Several processes can start concurrently on a SQLite file that does not exist yet."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from interface.outbound.sql.sqlite_store import SqliteStore

PROCESSES = 8
ROUNDS = 50


def open_stores(directory: Path, barrier: Barrier) -> None:
    for number in range(ROUNDS):
        barrier.wait(60)
        SqliteStore(directory / f"{number}.db").close()


def test_eight_processes_can_create_a_store_concurrently(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=open_stores, args=(tmp_path, barrier)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(list(tmp_path.glob("*.db"))) == ROUNDS
