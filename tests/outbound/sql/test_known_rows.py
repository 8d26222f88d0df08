"""Commands on PostgreSQL that are decided on rows that another process may have changed since."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from application.policies.records import POLICIES
from application.shared.errors import Conflict
from application.tickets.create_ticket import CreateTicket
from application.tickets.records import TICKETS, TicketNotFound
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.known_rows import KnownRows
from application.transaction.records import Changes, Load, LoadedState, RecordSet
from application.users.records import USERS, UserNotFound
from domain.policies.policy import TicketPolicy
from interface.composition.register import TABLES
from interface.outbound.sql.postgres_checks import CHECKABLE
from interface.outbound.sql.postgres_store import PostgresStore
from tests.support.fakes import SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import history_of, state_of


class CountingStore(PostgresStore):
    loads = 0

    async def load_on_loop(self, loads: Sequence[Load]) -> LoadedState:
        self.loads += 1
        return await super().load_on_loop(loads)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def store(postgres_url: str) -> Iterator[CountingStore]:
    with closing(CountingStore(postgres_url, TABLES)) as store:
        yield store


@pytest.fixture
def service(store: CountingStore) -> Iterator[Service]:
    with service_over(store) as service:
        service.register()
        service.create()
        yield service


@pytest.fixture
def other(postgres_url: str, service: Service) -> Iterator[Service]:
    """The service of another process."""
    with closing(PostgresStore(postgres_url, TABLES)) as store, service_over(store) as other:
        other.randomness = service.randomness
        yield other


def test_a_command_on_known_rows_needs_no_look_up(service: Service, store: CountingStore) -> None:
    before = store.loads

    assert [service.regenerate().version for _ in range(3)] == [2, 3, 4]
    assert service.regenerate(retryable=True, command_id="key").version == 5
    assert service.verify(service.newest())["verified"]
    assert store.loads == before


def test_a_command_on_stale_rows_is_decided_again(service: Service, other: Service) -> None:
    other.regenerate()

    assert (service.regenerate().version, other.regenerate().version) == (3, 4)
    assert service.verify("wrong")["verified"] is False
    assert state_of(service.store, SUBJECT).version == 5


@pytest.mark.parametrize("load", [TICKETS, POLICIES])
def test_the_error_in_the_log_of_postgres_is_named_a_conflict(
    service: Service, store: CountingStore, other: Service, load: RecordSet[Any, Any]
) -> None:
    service.regenerate()
    stale = [known for key, known in service.group_commit._known._known.items() if key.records is load]
    other.define("default", policy=TicketPolicy(), is_default=True)
    other.regenerate()
    changes = Changes()
    event = history_of(store, SUBJECT)[-1]
    changes.append([replace(event, originator_version=99)], SUBJECT)

    with pytest.raises(Conflict, match="conflict: another process changed a row"):
        asyncio.run(store.commit_on_loop(changes, stale))


def test_a_changed_policy_applies_to_the_next_command(service: Service, other: Service) -> None:
    service.regenerate()
    other.define("default", policy=TicketPolicy(ticket_length=33), is_default=True)
    service.regenerate()

    assert len(service.newest().reveal()) == 33


def test_an_erased_user_is_unknown_to_the_next_command(service: Service, other: Service) -> None:
    service.regenerate()
    other.erase()

    with pytest.raises(UserNotFound):
        service.regenerate()
    assert not [load for load in service.group_commit._known._known if load.records in (USERS, TICKETS)]


def test_a_user_who_was_registered_again_is_loaded_again(service: Service, other: Service) -> None:
    service.delete()
    other.erase()
    other.register(email="second@example.com")

    assert service.create().version == 3
    [known] = service.group_commit._known.find([Load(USERS, SUBJECT)]) or []
    assert known.rows[SUBJECT].email == "second@example.com"


def test_a_refusal_is_never_decided_on_stale_rows(service: Service, other: Service) -> None:
    service.delete()
    other.create()

    assert service.regenerate().version == 4
    other.delete()
    with pytest.raises(TicketNotFound):
        service.verify(service.newest())


def test_a_retry_gets_the_answer_that_another_process_stored(service: Service, other: Service) -> None:
    first = other.regenerate(retryable=True, command_id="key")

    assert service.regenerate(retryable=True, command_id="key") == first
    assert state_of(service.store, SUBJECT).version == 2


def test_a_batch_on_known_rows_gets_separate_answers(service: Service, other: Service) -> None:
    other.regenerate()
    futures = [service.commands.submit(command(RegenerateTicket)) for _ in range(10)]
    created = service.commands.submit(command(CreateTicket))

    assert [future.result().version for future in futures] == list(range(3, 13))
    assert created.result().outcome == "TicketExists"


def test_rows_that_another_release_wrote_are_known(service: Service, store: CountingStore) -> None:
    for table in ("recipients", "tickets"):
        [(row,)] = store._fetch(f"SELECT row FROM {table}", ())
        of_later_release = bytes(row)[:-1] + b',"of_later_release":1}'
        store._fetch(f"UPDATE {table} SET row = ? RETURNING 1", (of_later_release,))
    service.regenerate()
    before = store.loads

    assert [service.regenerate().version for _ in range(3)] == [3, 4, 5]
    assert store.loads == before


@pytest.fixture
def clock(service: Service) -> Clock:
    clock = Clock()
    service.group_commit._known = KnownRows(CHECKABLE, clock=clock)
    return clock


def test_known_rows_are_loaded_again_after_ten_minutes(
    service: Service, store: CountingStore, clock: Clock
) -> None:
    service.regenerate()
    clock.seconds = 599
    service.regenerate()
    before = store.loads
    clock.seconds = 600

    assert [service.regenerate().version for _ in range(2)] == [4, 5]
    assert store.loads == before + 1


def test_a_policy_that_a_failover_replaced_applies_after_ten_minutes(service: Service, clock: Clock) -> None:
    """The standby that becomes the primary may not have the newest version, and another one then has the same number."""
    lost, stored = (TicketPolicy(ticket_length=length) for length in (33, 34))
    service.define("default", policy=lost, is_default=True)
    service.regenerate()
    [(row,)] = service.store._fetch("SELECT row FROM policies", ())
    replaced = bytes(row).replace(b'"ticket_length":33', b'"ticket_length":%d' % stored.ticket_length)
    service.store._fetch("UPDATE policies SET row = ? RETURNING 1", (replaced,))
    clock.seconds = 600
    service.regenerate()

    assert len(service.newest().reveal()) == stored.ticket_length


def test_rows_that_no_command_uses_leave_the_memory(service: Service, clock: Clock) -> None:
    other = SUBJECT._replace(user_ext_id="other")
    service.register(subject=other)
    service.create(subject=other)
    service.regenerate()
    clock.seconds = 600
    service.regenerate(subject=other)

    assert not service.group_commit._known._known.keys() & {Load(TICKETS, SUBJECT), Load(USERS, SUBJECT)}


def test_the_number_of_known_loads_is_limited(service: Service) -> None:
    state = state_of(service.store, SUBJECT)
    known = KnownRows({TICKETS: False}, limit=2)
    loads = [Load(TICKETS, SUBJECT._replace(user_ext_id=f"user-{number}")) for number in range(3)]
    for load in loads:
        loaded = LoadedState()
        loaded.all(TICKETS)[SUBJECT._replace(user_ext_id=load.prefix[1])] = state
        known.keep([load], loaded)

    assert [known.find([load]) is None for load in loads] == [True, False, False]
