"""Stores commands one by one, and prints how many commits ran on the event loop, and how many in the thread."""

import sys
import threading
from contextlib import closing
from pathlib import Path

from application.transaction.records import Changes
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.service import service_over


class CountingStore(SqliteStore):
    """Counts its commits."""

    on_loop = in_thread = 0

    def commit(self, changes: Changes) -> None:
        super().commit(changes)
        self.in_thread += 1

    def commit_if_free(self, changes: Changes) -> bool:
        is_stored = super().commit_if_free(changes)
        is_on_loop = threading.current_thread().name == "group-commit"
        self.on_loop += is_stored and is_on_loop
        self.in_thread += is_stored and not is_on_loop
        return is_stored


if __name__ == "__main__":
    path, count = Path(sys.argv[1]), int(sys.argv[2])
    with closing(CountingStore(path, TABLES)) as store, service_over(store) as service:
        service.register()
        service.create()
        for _ in range(count):
            service.regenerate()
        print(store.on_loop, store.in_thread)  # noqa: T201
