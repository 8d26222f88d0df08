"""A row that this service did not write is refused when it is loaded (both stores)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from application.delivery.outbox import PendingDelivery
from application.operations.seal_rows import SealReport, reopen_tables, seal_rows
from application.policies.define_policy import read_policies
from application.policies.records import policies_of
from application.shared.errors import RowRefused
from application.tickets.find_tickets import TicketQuery
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.policies.policy_definition import PolicyState
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from domain.tickets.evolution import fold
from interface.composition.service import open_at
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql.codec import encode
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.delivering import FakeCourier, delivering, recorded_of
from tests.support.fakes import NOW, SUBJECT, FakeClock
from tests.support.server import until
from tests.support.service import AnyStore, Service, service_over
from tests.support.stores import as_release_1_0_wrote, history_of, live_ticket, state_of, stored_user
from tests.support.web import BASE, TICKET, USER, web_over

CLIENT = SUBJECT.client_ext_id
OTHER = SUBJECT._replace(user_ext_id="other")
OF_USER = "client_ext_id = ? AND user_ext_id = ?"


@pytest.fixture
def open_sealed(database_url: str, tmp_path: Path) -> Iterator[Callable[..., AnyStore]]:
    """Opens the store as a process with the keys would."""
    clock = FakeClock()
    keys = LedgerKeys(tmp_path / "ledger", "tickets", clock=clock, overlap=timedelta(days=30))
    opened: list[AnyStore] = []

    def open_again(**options: Any) -> AnyStore:
        opened.append(open_at(database_url, RowSealer(keys.row_keys, **options), migrate=True))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_sealed: Callable[..., AnyStore]) -> AnyStore:
    return open_sealed()


@pytest.fixture
def old_store(database_url: str, open_sealed: Callable[..., AnyStore]) -> AnyStore:
    """A store with rows of an earlier release, which have no seal."""
    with closing(open_at(database_url, migrate=True)) as unsealed, service_over(unsealed) as service:
        given_rows(service)
    return open_sealed()


def given_rows(service: Service) -> None:
    for subject in (SUBJECT, OTHER):
        service.register(subject=subject)
        service.create(subject=subject)
        service.regenerate(subject=subject)
    service.define("long")


def run(store: AnyStore, statement: str, *parameters: Any) -> None:
    store._run(statement, [parameters])


def seals(store: AnyStore, table: str = "tickets") -> list[Any]:
    return [seal for (seal,) in store._fetch(f"SELECT seal FROM {table}", ())]


def forged(content: bytes, table: str) -> bytes:
    """Return the content with other values, in the same form."""
    old, new = {
        "tickets": (b'"version":', b'"version":1'),
        "recipients": (b"user@", b"evil@"),
        "policies": (b'"ticket_length":2', b'"ticket_length":1'),
    }[table]
    assert old in content
    return content.replace(old, new)


CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "row": lambda row, table: forged(bytes(row["row"]), table),
    "version": lambda row, _: row["version"] + 1,
    "seal": lambda row, _: bytes(row["seal"])[:-1] + bytes([row["seal"][-1] ^ 1]),
    "no seal": lambda *_: None,
    "empty seal": lambda *_: b"",
}


def change(store: AnyStore, table: str, what: str) -> None:
    """Change a column of the row of SUBJECT, or of the policy."""
    key = "user_ext_id" if table != "policies" else "policy_ext_id"
    name = SUBJECT.user_ext_id if table != "policies" else "long"
    columns = ("version", "row", "seal")
    statement = f"SELECT {', '.join(columns)} FROM {table} WHERE client_ext_id = ? AND {key} = ?"
    row = dict(zip(columns, store._fetch(statement, (CLIENT, name))[0], strict=True))
    column = what.rsplit(maxsplit=1)[-1]
    value = CHANGES[what](row, table)
    run(store, f"UPDATE {table} SET {column} = ? WHERE client_ext_id = ? AND {key} = ?", value, CLIENT, name)


def assert_refused(service: Service) -> None:
    """Assert that the rows of SUBJECT work for no operation, and those of another user do."""
    attempts: list[Callable[[], object]] = [
        lambda: service.verify(service.newest()),
        service.regenerate,
        service.modify,
        lambda: live_ticket(service.store, SUBJECT),
    ]
    for attempt in attempts:
        with pytest.raises(RowRefused):
            attempt()
    service.regenerate(subject=OTHER)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("table", ["tickets", "recipients"])
def test_a_changed_row_is_refused(store: AnyStore, table: str, what: str) -> None:
    with service_over(store) as service:
        given_rows(service)

        change(store, table, what)

        assert_refused(service)


def policies_in(store: AnyStore) -> Sequence[PolicyState]:
    return read_policies(CLIENT, store.load([policies_of(CLIENT)]))


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_policy_is_refused(store: AnyStore, what: str) -> None:
    new = OTHER._replace(user_ext_id="new")
    with service_over(store) as service:
        given_rows(service)
        service.register(subject=new)
        change(store, "policies", what)

        attempts: list[Callable[[], object]] = [
            lambda: service.define("long"),
            lambda: service.create(subject=new),
            lambda: policies_in(store),
        ]
        for attempt in attempts:
            with pytest.raises(RowRefused):
                attempt()
        service.define("of another client", subject=Subject("client-2", ""))


def test_a_row_of_another_user_is_refused(store: AnyStore) -> None:
    with service_over(store) as service:
        given_rows(service)
        copied = ", ".join(
            f"{column} = (SELECT {column} FROM tickets AS source WHERE source.user_ext_id = 'other')"
            for column in ("version", "row", "seal")
        )

        run(store, f"UPDATE tickets SET {copied} WHERE {OF_USER}", *SUBJECT)

        assert_refused(service)


def test_a_forged_event_beside_a_forged_row_does_not_help(store: AnyStore) -> None:
    with service_over(store) as service:
        given_rows(service)
        forge_row_and_event(store)

        assert_refused(service)


def forge_row_and_event(store: AnyStore) -> None:
    """Give SUBJECT the ticket of another user, consistently in its newest event and its row."""
    known = state_of(store, SUBJECT)
    hashes = state_of(store, OTHER).ticket_hash, known.ticket_hash
    theirs, mine = (encode(found)[1:-1] for found in hashes)
    newest, stream = f"originator_id = ? AND originator_version = {known.version}", stream_id(*SUBJECT)
    [(event,)] = store._fetch(f"SELECT state FROM ticket_events WHERE {newest}", (stream,))
    [(row,)] = store._fetch(f"SELECT row FROM tickets WHERE {OF_USER}", SUBJECT)
    assert mine in bytes(event)
    assert mine in bytes(row)
    forged_event, forged_row = (bytes(found).replace(mine, theirs) for found in (event, row))
    store._run(
        f"UPDATE ticket_events SET state = ? WHERE {newest}",
        [(forged_event, stream.hex if isinstance(store, SqliteStore) else stream)],
    )
    run(store, f"UPDATE tickets SET row = ?, seal = NULL WHERE {OF_USER}", forged_row, *SUBJECT)
    assert encode(fold(None, history_of(store, SUBJECT))) == forged_row


def test_a_former_row_of_the_same_user_is_accepted(store: AnyStore) -> None:
    with service_over(store) as service:
        given_rows(service)
        [former] = store._fetch(f"SELECT version, row, seal FROM tickets WHERE {OF_USER}", SUBJECT)
        service.regenerate()

        run(store, f"UPDATE tickets SET version = ?, row = ?, seal = ? WHERE {OF_USER}", *former, *SUBJECT)

        assert live_ticket(store, SUBJECT).version == former[0]


def test_every_listing_refuses_a_changed_row(store: AnyStore) -> None:
    query = TicketQuery(CLIENT, now=NOW)
    with service_over(store) as service:
        given_rows(service)
        assert len(store.find_tickets(query, None, 10)) == len(store.list_recipients(CLIENT, "", 10)) == 2

        change(store, "tickets", "no seal")
        change(store, "recipients", "no seal")

        with pytest.raises(RowRefused):
            store.find_tickets(query, None, 10)
        with pytest.raises(RowRefused):
            store.list_recipients(CLIENT, "", 10)


@pytest.mark.parametrize("table", ["tickets", "recipients"])
def test_a_ticket_is_neither_sent_nor_deleted_for_a_changed_row(store: AnyStore, table: str) -> None:
    with service_over(store) as service:
        given_rows(service)

        change(store, table, "row")

        courier = FakeCourier()
        with delivering(service, {SendingMethod.EMAIL: courier}):
            until(lambda: len(recorded_of(store, OTHER)) == 2, "the tickets of the other user are delivered")
            until(lambda: all(map(is_postponed, store.pending(SUBJECT))), "those of the user are postponed")
        assert {pending.entry.subject for pending in courier.given} == {OTHER}
        assert len(store.pending(SUBJECT)) == 2
        assert recorded_of(store) == []


def is_postponed(pending: PendingDelivery) -> bool:
    return pending.next_try is not None and "is refused" in (pending.retry_state.last_error or "")


def test_a_caller_gets_a_500_for_a_changed_row_only(
    store: AnyStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with web_over(store, tmp_path) as web:
        web.given_a_ticket()
        other = f"{BASE}/{CLIENT}/users/other"
        web.client.put(other, json={"email": "o@example.com"})

        change(store, "tickets", "row")

        for answer in (web.client.get(TICKET), web.client.post(f"{TICKET}/reset")):
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, "errors.fatalError")
        assert web.client.get(USER).status_code == web.client.get(other).status_code == 200
    place = f"client {CLIENT!r}, user {SUBJECT.user_ext_id!r}"
    refused = f"{place}: the row of table tickets is refused: its seal does not match"
    logged = [record.getMessage() for record in caplog.records]
    assert [line for line in logged if "the row of table" in line] == [refused]


def test_rows_of_an_earlier_release_are_accepted_and_sealed_when_they_change(old_store: AnyStore) -> None:
    outcomes: list[tuple[str, str]] = []
    assert old_store.row_sealer
    old_store.row_sealer.observe = lambda *seen: outcomes.append(seen)
    with service_over(old_store) as service:
        service.regenerate()
        service.define("long", policy=TicketPolicy(ticket_length=30))
        service.register(email="new@example.com")

    assert outcomes
    assert {outcome for _, outcome in outcomes} == {"accepted"}
    assert seals(old_store).count(None) == 1
    assert seals(old_store, "policies").count(None) == 0
    assert seals(old_store, "recipients").count(None) == 1


def test_a_user_of_release_1_0_is_accepted(old_store: AnyStore) -> None:
    as_release_1_0_wrote(old_store, SUBJECT)
    run(old_store, "DELETE FROM ticket_events WHERE topic = 'UserRegistered'")

    assert stored_user(old_store, SUBJECT)
    with service_over(old_store) as service:
        service.regenerate()


def test_a_row_that_an_earlier_release_changed_is_accepted(database_url: str, old_store: AnyStore) -> None:
    with service_over(old_store) as service:
        service.regenerate()
    assert None in seals(old_store)
    [(stale,)] = old_store._fetch(f"SELECT seal FROM tickets WHERE {OF_USER}", SUBJECT)
    with closing(open_at(database_url)) as earlier, service_over(earlier) as service:
        service.regenerate()
    run(old_store, f"UPDATE tickets SET seal = ? WHERE {OF_USER}", stale, *SUBJECT)

    with service_over(old_store) as service:
        service.regenerate()

    assert state_of(old_store, SUBJECT).reset_count == 4


@pytest.mark.parametrize("what", ["row", "version"])
@pytest.mark.parametrize("table", ["tickets", "policies", "recipients"])
def test_a_forged_row_in_a_store_of_an_earlier_release_is_refused(
    old_store: AnyStore, table: str, what: str
) -> None:
    change(old_store, table, what)

    with pytest.raises(RowRefused):
        policies_in(old_store) if table == "policies" else live_ticket(old_store, SUBJECT)


def sealed(store: AnyStore, **options: Any) -> SealReport:
    report = seal_rows(store=store, seals=store, **options)
    assert report
    return report


def test_the_job_seals_every_row_that_is_equal_to_its_events(old_store: AnyStore) -> None:
    change(old_store, "tickets", "row")

    report = sealed(old_store)

    place = f"client {CLIENT!r}, user {SUBJECT.user_ext_id!r}"
    assert (report.rows, report.sealed, report.refused) == (5, 4, [place])
    assert [seals(old_store, table).count(None) for table in old_store.sealed_tables()] == [1, 0, 0]
    assert sealed(old_store, finish=True).refused == [place]
    assert not any(map(old_store.is_complete, old_store.sealed_tables()))


def test_the_job_does_not_seal_a_row_without_the_commitment_of_its_user(old_store: AnyStore) -> None:
    as_release_1_0_wrote(old_store, SUBJECT, email="mallory@example.com")
    assert stored_user(old_store, SUBJECT).email == "mallory@example.com"

    report = sealed(old_store, finish=True)

    assert report.refused == [f"client {CLIENT!r}, recipient {SUBJECT.user_ext_id!r}"]
    assert seals(old_store, "recipients").count(None) == 1
    assert not any(map(old_store.is_complete, old_store.sealed_tables()))


def test_a_locked_row_is_sealed_before_the_job_is_finished(postgres_url: str, tmp_path: Path) -> None:
    with closing(open_at(postgres_url, migrate=True)) as unsealed, service_over(unsealed) as service:
        given_rows(service)
    keys = LedgerKeys(tmp_path / "ledger", "tickets", clock=FakeClock(), overlap=timedelta(days=30))
    waits: list[float] = []
    with (
        closing(open_at(postgres_url, RowSealer(keys.row_keys))) as store,
        psycopg.connect(postgres_url) as holder,
    ):
        holder.execute("SELECT 1 FROM tickets WHERE user_ext_id = %s FOR UPDATE", (OTHER.user_ext_id,))

        def wait(seconds: float) -> None:
            waits.append(seconds)
            assert not store.is_complete("tickets")
            if len(waits) == 3:
                holder.rollback()

        report = sealed(store, finish=True, wait=wait)

        assert (report.rows, report.sealed, report.refused) == (5, 5, [])
        assert len(waits) > 3
        assert [seals(store, table).count(None) for table in store.sealed_tables()] == [0, 0, 0]
        assert all(map(store.is_complete, store.sealed_tables()))


def test_after_the_job_is_finished_a_row_without_a_seal_is_refused(
    old_store: AnyStore, open_sealed: Callable[..., AnyStore]
) -> None:
    assert sealed(old_store, finish=True).sealed == 5
    store = open_sealed()
    with service_over(store) as service:
        service.regenerate()
        forge_row_and_event(store)

        assert_refused(service)
    assert sealed(store).rows == 0


def test_the_operator_can_seal_again_after_the_keys_were_lost(
    store: AnyStore, database_url: str, tmp_path: Path
) -> None:
    with service_over(store) as service:
        given_rows(service)
    new = LedgerKeys(tmp_path / "new", "tickets", clock=FakeClock(), overlap=timedelta(days=30))
    with closing(open_at(database_url, RowSealer(new.row_keys))) as later:
        with pytest.raises(RowRefused):
            live_ticket(later, SUBJECT)
        assert sealed(later, finish=True).sealed == 5
        assert live_ticket(later, SUBJECT)


def test_after_a_return_to_an_earlier_release_its_rows_are_accepted_if_the_tables_were_reopened(
    database_url: str, store: AnyStore, open_sealed: Callable[..., AnyStore]
) -> None:
    with service_over(store) as service:
        given_rows(service)
    with store.lease("row-seals"):
        assert not reopen_tables(store=store, seals=store)

    assert reopen_tables(store=store, seals=store)
    [(stale,)] = store._fetch(f"SELECT seal FROM tickets WHERE {OF_USER}", SUBJECT)
    with closing(open_at(database_url)) as earlier, service_over(earlier) as service:
        service.regenerate()
    run(store, f"UPDATE tickets SET seal = ? WHERE {OF_USER}", stale, *SUBJECT)

    with pytest.raises(RowRefused):
        live_ticket(open_sealed(is_required=True), SUBJECT)
    later = open_sealed()
    with service_over(later) as service:
        service.regenerate()
    assert state_of(later, SUBJECT).reset_count == 3
    assert sealed(later, finish=True).refused == []
    assert all(map(later.is_complete, later.sealed_tables()))


def test_a_setting_can_require_seals_in_every_store(
    old_store: AnyStore, open_sealed: Callable[..., AnyStore]
) -> None:
    run(old_store, "DELETE FROM row_seals")
    with pytest.raises(RowRefused):
        stored_user(open_sealed(is_required=True), SUBJECT)
    assert stored_user(old_store, SUBJECT)


def test_a_new_store_needs_no_job(store: AnyStore) -> None:
    assert all(map(store.is_complete, store.sealed_tables()))
    assert {*store.sealed_tables()} == {"tickets", "recipients", "policies"}
