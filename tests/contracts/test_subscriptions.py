"""Contract of every Subscriptions store, real or fake."""

from collections.abc import Callable
from typing import Any

from application.subscriptions.control_subscription import (
    ChangeSubscriptionStatus,
    DeleteSubscription,
    ReplaySubscription,
)
from application.subscriptions.define_subscription import DefineSubscription
from application.subscriptions.records import Progress, SubscriptionHead
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, Status, SubscriptionKey
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import AnyStore, Service, command

CLIENT = SUBJECT._replace(user_ext_id="")
KEY = SubscriptionKey(CLIENT.client_ext_id, "siem")


def define(service: Service, name: str = "siem", **changes: Any) -> None:
    terms = {
        "method": Method.WEBHOOK,
        "url": Secret("https://siem.example/hook"),
        "secret": Secret("whsec_x"),
    }
    service.execute(command(DefineSubscription, subject=CLIENT, name=name, **{**terms, **changes}))


def run(service: Service, kind: type[Any], **changes: Any) -> None:
    service.execute(command(kind, subject=CLIENT, name="siem", **changes))


def given_events(service: Service, count: int) -> None:
    """Register a user, create the ticket and reset it: `count` events."""
    service.register()
    service.create()
    for _ in range(count - 2):
        service.regenerate()


def test_a_subscription_starts_at_the_end_of_the_ledger_or_at_a_given_position(
    service: Service, open_store: Callable[[], AnyStore]
) -> None:
    given_events(service, 4)
    define(service)
    define(service, "provisioning", after=2)

    found = open_store().list_subscriptions(KEY.client_ext_id)

    assert [(one.row.name, one.progress.acknowledged) for one in found] == [("provisioning", 2), ("siem", 4)]
    assert open_store().list_subscriptions("client-9") == []


def test_progress_is_saved_for_its_version_only(service: Service, store: AnyStore) -> None:
    define(service, after=0)
    progress = Progress(
        acknowledged=7,
        beyond=(9,),
        failures=2,
        failing_since=NOW,
        last_error="responded with 500",
        next_try=NOW,
    )

    store.save_progress([(KEY, 1, progress), (SubscriptionKey("client-123", "unknown"), 1, progress)])
    store.save_progress([(KEY, 2, Progress(acknowledged=99))])

    found = store.subscription(KEY)
    assert found is not None
    assert found.progress == progress


def test_a_change_keeps_the_position_and_resets_the_other_progress(service: Service, store: AnyStore) -> None:
    given_events(service, 4)
    define(service)
    store.save_progress([(KEY, 1, Progress(acknowledged=3, last_success=NOW, failures=2, next_try=NOW))])

    define(service, batch_size=10)

    found = store.subscription(KEY)
    assert found is not None
    assert (found.row.version, found.row.terms.batch_size) == (2, 10)
    assert found.progress == Progress(acknowledged=3, last_success=NOW)


def test_a_replay_moves_the_position(service: Service, store: AnyStore) -> None:
    given_events(service, 4)
    define(service)

    run(service, ReplaySubscription, position=2)

    found = store.subscription(KEY)
    assert found is not None
    assert found.progress.acknowledged == 1


def test_the_heads_are_those_of_push_subscriptions(service: Service, store: AnyStore) -> None:
    define(service)
    define(service, "polled", method=Method.SET_POLL, url=None)
    define(service, "paused")
    service.execute(command(ChangeSubscriptionStatus, subject=CLIENT, name="paused", status=Status.PAUSED))

    assert store.subscription_heads() == [SubscriptionHead(KEY, 1, "")]


def test_a_notice_is_deleted_once(service: Service, store: AnyStore) -> None:
    define(service)

    store.save_notice(KEY, "state")
    assert store.subscription_heads() == [SubscriptionHead(KEY, 1, "state")]
    store.delete_notice(KEY, "older")
    assert store.subscription_heads() == [SubscriptionHead(KEY, 1, "state")]
    store.delete_notice(KEY, "state")
    assert store.subscription_heads() == [SubscriptionHead(KEY, 1, "")]


def test_a_deleted_subscription_can_be_defined_again_in_the_same_stream(
    service: Service, store: AnyStore
) -> None:
    given_events(service, 2)
    define(service)
    run(service, DeleteSubscription)
    assert store.subscription(KEY) is None
    assert store.subscription_heads() == []

    define(service)

    found = store.subscription(KEY)
    assert found is not None
    assert (found.row.version, found.row.status, found.progress.acknowledged) == (3, Status.ENABLED, 4)


def test_a_command_sees_the_earlier_ones_in_its_batch(service: Service, store: AnyStore) -> None:
    given_events(service, 3)
    terms = {"subject": CLIENT, "name": "siem"}
    define_ = command(
        DefineSubscription,
        **terms,
        method=Method.WEBHOOK,
        url=Secret("https://a.example"),
        secret=Secret("whsec_x"),
    )
    commands = [
        define_,
        command(ReplaySubscription, **terms, position=1),
        command(ChangeSubscriptionStatus, **terms, status=Status.PAUSED),
    ]

    for future in [service.commands.submit(one) for one in commands]:
        future.result(10).unwrap()

    found = store.subscription(KEY)
    assert found is not None
    assert (found.row.version, found.row.status, found.progress.acknowledged) == (3, Status.PAUSED, 0)
