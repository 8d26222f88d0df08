"""Contract of every FiguresSource."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from application.delivery.outbox import OutboxStatus, RetryState
from application.record.checkpoint import Signer, make_checkpoint
from application.subscriptions.control_subscription import ChangeSubscriptionStatus, DeleteSubscription
from application.subscriptions.define_subscription import DefineSubscription
from application.subscriptions.records import Progress
from domain.delivery.ticket_delivery import Attempt
from domain.policies.policy import SendingMethod
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, Status, SubscriptionKey
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.contracts.test_outbox import key_of, record
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import Service, command, service_over

OTHER = SUBJECT._replace(client_ext_id="other")
MINUTE = timedelta(minutes=1)
SIEM = SubscriptionKey("client-123", "siem")
FiguresSource = SqliteStore | PostgresStore


@pytest.fixture
def store(database_url: str) -> Iterator[FiguresSource]:
    store = open_store(database_url)
    yield store
    store.close()


@pytest.fixture
def service(store: FiguresSource) -> Iterator[Service]:
    with service_over(store) as service:
        yield service


class FakeSigner:
    """Returns the text without a signature."""

    name = "tickets"

    def sign(self, text: str) -> str:
        return f"{text}\n— none\n"


def sign(store: FiguresSource, service: Service, client: str = "client-123") -> None:
    signer: Signer = FakeSigner()
    assert make_checkpoint(client, ledger=store, signer=signer, clock=service.clock)


def subscribe(service: Service, name: str = "siem", method: Method = Method.WEBHOOK) -> None:
    service.execute(
        command(
            DefineSubscription,
            subject=SUBJECT._replace(user_ext_id=""),
            name=name,
            method=method,
            url=Secret("http://127.0.0.1/hook"),
            secret=Secret("whsec_x"),
        )
    )


def test_the_figures_of_a_new_store_are_zero(store: FiguresSource) -> None:
    figures = store.figures()

    assert figures.outbox == {OutboxStatus.QUEUED: 0, OutboxStatus.FAILED: 0}
    assert (figures.oldest_queued, figures.lags, figures.unsigned_since) == (None, {}, None)
    assert figures.subscriptions == dict.fromkeys(Status, 0)


def test_a_new_store_has_the_newest_schema(store: FiguresSource) -> None:
    assert store.schema_version() == store.newest_schema > 1


def test_the_outbox_is_counted_by_status_with_the_age_of_the_oldest_queued_ticket(
    store: FiguresSource, service: Service
) -> None:
    service.register()
    service.create()
    service.clock.advance(MINUTE)
    service.register(subject=OTHER)
    service.create(subject=OTHER)
    both = store.figures()
    attempt = Attempt(method=SendingMethod.EMAIL, attempt=1, recipient="u***@e***.com", answer="550")
    record(service, attempt=attempt, delivered=False, retry_state=RetryState(attempts=1), until=NOW + MINUTE)
    one = store.figures()
    record(service, key_of(OTHER), subject=OTHER)
    none = store.figures()

    assert (both.outbox, both.oldest_queued) == ({OutboxStatus.QUEUED: 2, OutboxStatus.FAILED: 0}, NOW)
    assert (one.outbox, one.oldest_queued) == ({OutboxStatus.QUEUED: 1, OutboxStatus.FAILED: 1}, NOW + MINUTE)
    assert (none.outbox, none.oldest_queued) == ({OutboxStatus.QUEUED: 0, OutboxStatus.FAILED: 1}, None)


def test_the_lag_of_each_push_subscription_is_reported(store: FiguresSource, service: Service) -> None:
    service.register()
    service.create()
    for name in ("siem", "paused", "deleted"):
        subscribe(service, name)
    of_client = {"subject": SUBJECT._replace(user_ext_id="")}
    service.execute(command(ChangeSubscriptionStatus, **of_client, name="paused", status=Status.PAUSED))
    service.execute(command(DeleteSubscription, **of_client, name="deleted"))
    before = store.figures().lags
    service.regenerate()
    service.regenerate()
    after = store.figures().lags
    subscribed = store.subscription(SIEM)
    assert subscribed
    position = store.size("client-123")
    store.save_progress([(SIEM, subscribed.row.version, Progress(acknowledged=position - 1))])
    nearly = store.figures().lags

    assert set(before) == set(after) == {SIEM}
    assert after[SIEM] - before[SIEM] == 2
    assert nearly == {SIEM: 1}


def test_the_lag_of_a_parked_subscription_is_reported(store: FiguresSource, service: Service) -> None:
    service.register()
    service.create()
    for name in ("siem", "paused", "deleted"):
        subscribe(service, name)
    of_client = {"subject": SUBJECT._replace(user_ext_id="")}
    subscribed = store.subscription(SIEM)
    assert subscribed
    before = store.figures().lags[SIEM]
    parked = {"name": "siem", "status": Status.PARKED, "version": subscribed.row.version}
    service.execute(command(ChangeSubscriptionStatus, **of_client, **parked))
    service.execute(command(ChangeSubscriptionStatus, **of_client, name="paused", status=Status.PAUSED))
    service.execute(command(DeleteSubscription, **of_client, name="deleted"))
    service.regenerate()
    figures = store.figures()

    assert figures.lags.keys() == {SIEM}
    assert figures.lags[SIEM] > before
    assert figures.subscriptions == {
        Status.ENABLED: 0,
        Status.PAUSED: 1,
        Status.DISABLED: 0,
        Status.PARKED: 1,
    }


def test_the_lag_of_an_unpolled_stream_grows(store: FiguresSource, service: Service) -> None:
    service.register()
    service.create()
    subscribe(service, method=Method.SET_POLL)
    before = store.figures().lags[SIEM]
    service.regenerate()

    assert store.figures().lags[SIEM] == before + 1


def test_the_time_of_the_oldest_unsigned_entry_is_reported(store: FiguresSource, service: Service) -> None:
    service.register()
    service.create()
    never_signed = store.figures().unsigned_since
    sign(store, service)
    signed = store.figures().unsigned_since
    # A year without events must not raise an alarm.
    service.clock.advance(timedelta(days=365))
    idle = store.figures().unsigned_since
    service.regenerate()
    grown_at = service.clock()
    service.clock.advance(MINUTE)
    service.regenerate()
    grown = store.figures().unsigned_since
    service.register(subject=OTHER)
    service.create(subject=OTHER)
    sign(store, service)
    of_the_other = store.figures().unsigned_since

    assert (never_signed, signed, idle) == (NOW, None, None)
    assert grown == grown_at
    assert of_the_other == grown_at + MINUTE
