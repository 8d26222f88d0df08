from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from application.transaction.ports import Outbox, Store, Subscriptions
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import FakeStore
from tests.support.schemas import migrate_to_next_release
from tests.support.service import Service, service_over


class StoreWithOutbox(Store, Subscriptions, Outbox, Protocol):
    pass


@pytest.fixture(
    params=["fake", "sqlite", "postgres", "sqlite of the next release", "postgres of the next release"]
)
def open_store(request: pytest.FixtureRequest) -> Iterator[Callable[[], StoreWithOutbox]]:
    """Opens the same store as often as called: each is what another process would hold."""
    fake = FakeStore()
    kind, _, of_next_release = request.param.partition(" ")
    if of_next_release:
        migrate_to_next_release(request.getfixturevalue(f"{kind}_url"))
    with ExitStack() as opened:

        def open_again() -> StoreWithOutbox:
            store: StoreWithOutbox
            match kind:
                case "sqlite":
                    store = SqliteStore(
                        Path(request.getfixturevalue("sqlite_url").removeprefix("sqlite:///"))
                    )
                case "postgres":
                    store = PostgresStore(request.getfixturevalue("postgres_url"))
                case _:
                    store = fake
            opened.callback(store.close)
            return store

        yield open_again


@pytest.fixture
def store(open_store: Callable[[], StoreWithOutbox]) -> StoreWithOutbox:
    return open_store()


@pytest.fixture
def service(store: StoreWithOutbox) -> Iterator[Service]:
    with service_over(store) as service:
        yield service
