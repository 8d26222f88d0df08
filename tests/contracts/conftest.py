from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from interface.composition.register import TABLES
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.schemas import migrate_to_next_release
from tests.support.service import AnyStore, Service, service_over


@pytest.fixture(params=["sqlite", "postgres", "sqlite of the next release", "postgres of the next release"])
def open_store(request: pytest.FixtureRequest) -> Iterator[Callable[[], AnyStore]]:
    """Opens the same store again, as another process would."""
    kind, _, of_next_release = request.param.partition(" ")
    if of_next_release:
        migrate_to_next_release(request.getfixturevalue(f"{kind}_url"))
    with ExitStack() as opened:

        def open_again() -> AnyStore:
            store: AnyStore
            match kind:
                case "sqlite":
                    store = SqliteStore(
                        Path(request.getfixturevalue("sqlite_url").removeprefix("sqlite:///")), TABLES
                    )
                case _:
                    store = PostgresStore(request.getfixturevalue("postgres_url"), TABLES)
            opened.callback(store.close)
            return store

        yield open_again


@pytest.fixture
def store(open_store: Callable[[], AnyStore]) -> AnyStore:
    return open_store()


@pytest.fixture
def service(store: AnyStore) -> Iterator[Service]:
    with service_over(store) as service:
        yield service
