import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from application.shared.errors import Conflict, Overloaded, StoreUnavailable
from application.tickets.create_ticket import CreateTicket
from application.tickets.records import TicketNotFound
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Command
from application.transaction.records import Changes, Load, LoadedState
from application.users.records import USERS, UserNotFound
from application.users.register_user import RegisterUser
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT
from tests.support.service import Service, command, service_over
from tests.support.stores import history_of, temporary_store

STRANGER = SUBJECT._replace(user_ext_id="stranger")


class GatedStore(SqliteStore):
    """Blocks its first look-up until the test opens the gate, so that later commands form one batch."""

    lookup_is_nonblocking = False

    def __init__(self, path: Path) -> None:
        super().__init__(path, TABLES)
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.committed: list[Changes] = []
        self.before_commit: Callable[[Changes], None] = lambda _: None

    def load(self, loads: Sequence[Load]) -> LoadedState:
        self.reached.set()
        self.gate.wait(10)
        return super().load(loads)

    def commit(self, changes: Changes) -> None:
        self.before_commit(changes)
        super().commit(changes)
        self.committed.append(changes)


@contextmanager
def gated() -> Iterator[tuple[Service, GatedStore]]:
    with (
        TemporaryDirectory(prefix="tickets-gated-") as directory,
        closing(GatedStore(Path(directory) / "tickets.db")) as store,
        gated_service(store) as service,
    ):
        yield service, store


@contextmanager
def gated_service(store: GatedStore) -> Iterator[Service]:
    with service_over(store) as service:
        store.gate.set()
        service.register()
        service.create()
        store.committed.clear()
        store.gate.clear()
        store.reached.clear()
        service.commands.submit(
            command(RegisterUser, email="gate@example.com", subject=STRANGER._replace(user_ext_id="gate"))
        )
        store.reached.wait(10)
        try:
            yield service
        finally:
            store.gate.set()


def submit(service: Service, kind: type[Command], **changes: Any) -> Any:
    return service.commands.submit(command(kind, **changes))


def test_queued_commands_share_one_commit_and_get_separate_answers() -> None:
    with gated() as (service, store):
        futures = [submit(service, RegenerateTicket) for _ in range(10)]
        store.gate.set()

        assert [future.result().version for future in futures] == list(range(2, 12))

    assert [len(changes.events) for changes in store.committed] == [1, 10]


def test_a_refusal_does_not_affect_other_commands() -> None:
    with gated() as (service, store):
        before = submit(service, RegenerateTicket)
        refused = submit(service, RegenerateTicket, subject=STRANGER)
        after = submit(service, RegenerateTicket)
        store.gate.set()

        assert (before.result().version, after.result().version) == (2, 3)
        with pytest.raises(UserNotFound):
            refused.result().unwrap()


def test_an_error_rolls_back_only_its_own_command() -> None:
    with gated() as (service, store):
        seal, broken = (
            service.sealer.seal,
            service.commands.submit(command(RegisterUser, email="x@example.com")),
        )
        calls = iter([True, False, True])

        def seal_or_fail(*args: Any, **kwargs: Any) -> bytes:
            if not next(calls):
                raise OSError("no entropy")
            return seal(*args, **kwargs)

        service.sealer.seal = seal_or_fail  # type: ignore[method-assign]
        futures = [submit(service, RegenerateTicket) for _ in range(3)]
        store.gate.set()

        assert broken.result().version == 2
        assert (futures[0].result().version, futures[2].result().version) == (2, 3)
        with pytest.raises(OSError, match="no entropy"):
            futures[1].result()
        assert len(history_of(store, SUBJECT)) == 3


def test_two_retries_in_one_batch_make_one_change() -> None:
    with gated() as (service, store):
        futures = [submit(service, RegenerateTicket, command_id="key", retryable=True) for _ in range(2)]
        store.gate.set()

        assert futures[0].result() == futures[1].result()
        assert len(history_of(store, SUBJECT)) == 2


def test_a_reset_sees_the_creation_in_the_same_batch() -> None:
    with gated() as (service, store):
        submit(service, RegisterUser, email="s@example.com", subject=STRANGER)
        too_early = submit(service, RegenerateTicket, subject=STRANGER)
        submit(service, CreateTicket, subject=STRANGER)
        reset = submit(service, RegenerateTicket, subject=STRANGER)
        store.gate.set()

        assert reset.result().version == 2
        with pytest.raises(TicketNotFound):
            too_early.result().unwrap()


def test_a_command_is_decided_again_after_a_conflict() -> None:
    with gated() as (service, store), service_over(store) as other_process:

        def commit_first(_: Changes) -> None:
            store.before_commit = lambda _: None
            other_process.regenerate()

        store.gate.set()
        service.register(email="later@example.com")  # the batch that waited at the gate has been stored
        store.before_commit = commit_first

        assert service.regenerate().version == 3
        assert [event.originator_version for event in history_of(store, SUBJECT)] == [1, 2, 3]


def test_a_batch_that_cannot_be_stored_is_split() -> None:
    def poison(changes: Changes) -> None:
        if STRANGER in changes.rows.get(USERS, {}):
            raise ValueError("cannot be stored")

    with gated() as (service, store):
        store.before_commit = poison
        good = submit(service, RegenerateTicket)
        bad = submit(service, RegisterUser, email="bad@example.com", subject=STRANGER)
        store.gate.set()

        assert good.result().version == 2
        with pytest.raises(ValueError, match="cannot be stored"):
            bad.result()


@pytest.mark.parametrize(
    ("failure", "raised"), [(StoreUnavailable("gone"), StoreUnavailable), (Conflict(), StoreUnavailable)]
)
def test_a_store_failure_is_reported_to_every_caller(failure: Exception, raised: type[Exception]) -> None:
    def fail(_: Changes) -> None:
        raise failure

    with gated() as (service, store):
        store.before_commit = fail
        futures = [submit(service, RegenerateTicket) for _ in range(2)]
        store.gate.set()

        for future in futures:
            with pytest.raises(raised):
                future.result()


def test_a_cancelled_command_is_not_executed() -> None:
    with gated() as (service, store):
        cancelled, kept = submit(service, RegenerateTicket), submit(service, RegenerateTicket)
        assert cancelled.cancel()
        store.gate.set()

        assert kept.result().version == 2
        assert len(history_of(store, SUBJECT)) == 2


def test_a_full_queue_rejects_commands_immediately() -> None:
    with gated() as (service, store):
        service.group_commit._max_waiting = 3
        for _ in range(3):
            submit(service, RegenerateTicket)

        with pytest.raises(Overloaded):
            submit(service, RegenerateTicket).result()

        store.gate.set()


def test_closing_processes_the_queued_commands() -> None:
    with gated() as (service, store):
        futures = [submit(service, RegenerateTicket) for _ in range(5)]
        store.gate.set()
        service.commands.close()

        assert [future.result().version for future in futures] == [2, 3, 4, 5, 6]
        with pytest.raises(Overloaded):
            submit(service, RegenerateTicket)


def test_a_failing_listener_affects_neither_the_answer_nor_the_writer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    with temporary_store() as store, service_over(store) as service:
        service.group_commit.observe = service.group_commit._after_commit = fail
        service.register()
        service.create()

        assert service.regenerate().version == 2

    assert len(caplog.messages) == 6  # of three batches, twice each
    assert set(caplog.messages) == {"post-commit listener failed"}
