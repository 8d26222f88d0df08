"""Contract of every Outbox."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from application.delivery.outbox import DeliveryKey, OutboxStatus, RetryState
from application.delivery.record_delivery import RecordDelivery, RetryDeliveries
from application.operations.reseal import reseal
from domain.delivery.ticket_delivery import Attempt, Obsolete
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import AnyStore, Service, command
from tests.support.stores import history_of, state_of

RETRIED = ("TicketDeliveryRetried",)
OTHER = Subject("client-123", "user-456")
SOON, LATER = NOW + timedelta(seconds=30), NOW + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _a_ticket(service: Service) -> None:
    service.register()
    service.create()


def key_of(subject: Subject = SUBJECT, version: int = 1) -> DeliveryKey:
    return DeliveryKey(subject.client_ext_id, stream_id(*subject), version)


def record(service: Service, key: DeliveryKey | None = None, **changes: Any) -> str:
    attempt = Attempt(method=SendingMethod.EMAIL, attempt=1, recipient="u***@e***.com", answer="250")
    fields: dict[str, Any] = {"attempt": attempt, "delivered": True, **changes}
    return service.execute(command(RecordDelivery, delivery_key=key or key_of(), **fields)).outcome


def taken(store: AnyStore, lease: str = "mine", now: Any = NOW, limit: int = 10) -> list[int]:
    return [found.entry.version for found in store.take(lease, now, now + timedelta(seconds=30), limit)]


def test_each_minted_ticket_is_queued_with_recipient_and_methods(service: Service, store: AnyStore) -> None:
    service.define(
        "letters",
        policy=TicketPolicy(
            sending_method=(SendingMethod.PDF_STORE, SendingMethod.EMAIL), ticket_group_size=6
        ),
    )
    service.modify(policy_ext_id="letters")
    service.regenerate()

    newest, oldest = store.pending(SUBJECT)

    assert (oldest.entry.version, newest.entry.version) == (1, 3)
    assert oldest.entry.methods == (SendingMethod.EMAIL,)
    assert newest.entry.methods == (SendingMethod.PDF_STORE, SendingMethod.EMAIL)
    assert (oldest.entry.group_size, newest.entry.group_size) == (4, 6)
    assert newest.recipient
    assert newest.recipient.email == "user@example.com"
    assert newest.ticket
    assert newest.ticket.version == 3
    assert (newest.entry.minted, newest.status, newest.next_try) == (NOW, OutboxStatus.QUEUED, None)
    assert (newest.obsolete(NOW), oldest.obsolete(NOW)) == (None, Obsolete.REPLACED)
    for found in (newest, oldest):
        service.sealer.unseal(found.entry.sealed, found.entry.delivery_id)


def test_a_policy_without_a_method_queues_nothing(service: Service, store: AnyStore) -> None:
    service.define("none", policy=TicketPolicy(sending_method=(SendingMethod.NONE,)))
    service.modify(policy_ext_id="none")
    service.regenerate()

    assert [found.entry.version for found in store.pending(SUBJECT)] == [1]


def test_a_leased_ticket_is_not_taken_until_the_lease_expires(
    service: Service, open_store: Callable[[], AnyStore]
) -> None:
    service.register(subject=OTHER)
    service.create(subject=OTHER)
    store, other = open_store(), open_store()

    assert taken(store, limit=1) + taken(other, "theirs") == [1, 1]
    assert taken(other, "theirs") == []
    assert taken(other, "theirs", SOON) == [1, 1]
    # A worker that has lost its lease changes nothing.
    store.postpone(key_of(), "mine", 0, RetryState(attempts=9), LATER)
    store.release_leases("mine", [key_of()])
    store.extend("mine", [key_of()], LATER)
    assert store.pending(SUBJECT)[-1].retry_state == RetryState()
    assert taken(store, "mine", SOON) == []


def test_a_ticket_is_not_leased_while_its_predecessor_is(service: Service, store: AnyStore) -> None:
    assert taken(store) == [1]
    service.regenerate()
    assert taken(store, "theirs") == []

    store.postpone(key_of(), "mine", 0, RetryState(), LATER)

    assert taken(store, "theirs") == [2]
    assert sorted(taken(store, now=LATER)) == [1, 2]


def test_a_lease_can_be_extended_and_released(store: AnyStore) -> None:
    assert taken(store) == [1]
    store.extend("mine", [key_of()], LATER)
    assert taken(store, "theirs", SOON) == []

    store.release_leases("mine", [key_of()])

    assert taken(store, "theirs") == [1]


def test_a_postponed_ticket_is_taken_when_due_with_its_retry_state(
    store: AnyStore,
) -> None:
    retry_state = RetryState(method=0, attempts=3, failures=2, failing_since=NOW, last_error="a refusal")
    taken(store)
    store.postpone(key_of(), "mine", 0, retry_state, SOON)

    assert taken(store, "theirs") == []
    [found] = store.take("theirs", SOON, LATER, 10)
    assert (found.retry_state, found.next_try) == (retry_state, SOON)


def test_the_oldest_due_ticket_is_taken_first(service: Service, store: AnyStore) -> None:
    service.register(subject=OTHER)
    service.create(subject=OTHER)
    store.take("mine", NOW, LATER, 10)
    store.postpone(key_of(), "mine", 0, RetryState(), SOON)
    store.postpone(key_of(OTHER), "mine", 0, RetryState(), NOW)

    [first] = store.take("theirs", LATER, LATER, 1)

    assert first.entry.subject == OTHER


def test_a_recorded_success_deletes_the_sealed_ticket(service: Service, store: AnyStore) -> None:
    assert record(service) == "recorded"

    assert store.pending(SUBJECT) == []
    assert record(service) == "gone"


def test_a_recorded_failure_keeps_the_sealed_ticket_for_a_retry(service: Service, store: AnyStore) -> None:
    taken(store)
    record(service, delivered=False, retry_state=RetryState(attempts=1, last_error="no"), until=LATER)

    [failed] = store.pending(SUBJECT)
    assert (failed.status, failed.next_try, failed.event_count) == (OutboxStatus.FAILED, LATER, 1)
    assert failed.retry_state.last_error == "no"
    assert taken(store, now=SOON) == []

    service.execute(command(RetryDeliveries))

    [again] = store.pending(SUBJECT)
    assert (again.status, again.next_try) == (OutboxStatus.QUEUED, None)
    assert again.retry_state == RetryState(address_version=1)
    assert taken(store) == [1]
    assert record(service) == "recorded"
    assert store.pending(SUBJECT) == []


def test_each_retry_of_a_ticket_is_an_event_of_its_delivery(service: Service, store: AnyStore) -> None:
    service.regenerate()
    record(service)
    for caller in ("anna", "bruno"):
        service.execute(command(RetryDeliveries, actor=caller, reason="moved"))

    events = [store.event(entry) for entry in store.entries_of_topics("client-123", RETRIED, 0, 10)]

    # The first ticket is sent, so there is nothing to retry.
    assert [(event.ticket, event.originator_version) for event in events] == [
        ((stream_id(*SUBJECT), 2), 1),
        ((stream_id(*SUBJECT), 2), 2),
    ]
    assert [(event.actor, event.reason) for event in events] == [("anna", "moved"), ("bruno", "moved")]
    assert store.pending(SUBJECT)[0].event_count == 2


def test_a_retry_keeps_the_lease_of_an_attempt_in_progress(service: Service, store: AnyStore) -> None:
    assert taken(store) == [1]

    service.execute(command(RetryDeliveries))

    assert taken(store, "theirs") == []
    assert record(service) == "recorded"


def test_a_retry_during_an_attempt_replaces_its_result(service: Service, store: AnyStore) -> None:
    [attempted] = store.take("mine", NOW, SOON, 1)
    service.register(email="new@example.com")
    service.execute(command(RetryDeliveries))

    store.postpone(key_of(), "mine", attempted.event_count, RetryState(attempts=1), LATER)

    [again] = store.take("mine", NOW, SOON, 1)
    assert (again.retry_state, again.is_redirected) == (RetryState(address_version=2), False)

    service.execute(command(RetryDeliveries))
    assert record(service, delivered=False, event_count=again.event_count, until=LATER) == "queued"

    store.release_leases("mine", [key_of()])
    [last] = store.take("mine", NOW, SOON, 1)
    assert (last.status, last.retry_state) == (OutboxStatus.QUEUED, RetryState(address_version=2))
    assert record(service, delivered=False, event_count=last.event_count, until=LATER) == "recorded"


def test_a_retry_affects_one_user(service: Service, store: AnyStore) -> None:
    service.register(subject=OTHER)
    service.create(subject=OTHER)
    for subject in (SUBJECT, OTHER):
        record(service, key_of(subject), subject=subject, delivered=False, until=LATER)

    service.execute(command(RetryDeliveries, subject=OTHER))

    assert taken(store) == [1]
    assert store.pending(SUBJECT)[0].status is OutboxStatus.FAILED


def test_recording_a_delivery_does_not_change_the_version_of_the_ticket(
    service: Service, store: AnyStore
) -> None:
    record(service)

    assert state_of(store, SUBJECT).version == 1
    assert len(history_of(store, SUBJECT)) == 1


def test_the_outbox_is_read_in_pages(service: Service, store: AnyStore) -> None:
    service.regenerate()
    service.register(subject=OTHER)
    service.create(subject=OTHER)

    everything = store.outbox_page(None, 10)
    first = store.outbox_page(None, 2)

    assert [*first, *store.outbox_page(first[-1].key, 2)] == everything
    assert {entry.key for entry in everything} == {key_of(), key_of(version=2), key_of(OTHER)}


def test_secrets_sealed_with_a_previous_key_are_resealed(service: Service, store: AnyStore) -> None:
    service.regenerate()
    sealer = service.sealer
    sealer.oldest_new = len(sealer.sealed)

    report = reseal(outbox=store, subscriptions=store, sealer=sealer, report_progress=lambda _: None)

    assert (report.tickets, report.lost_tickets) == (2, 0)
    for entry in store.outbox_page(None, 10):
        assert sealer.is_new(entry.sealed)
        sealer.unseal(entry.sealed, entry.delivery_id)
    assert (
        reseal(outbox=store, subscriptions=store, sealer=sealer, report_progress=lambda _: None).tickets == 0
    )


def test_secrets_without_a_key_are_counted_and_kept(service: Service, store: AnyStore) -> None:
    [entry] = store.outbox_page(None, 10)
    store.reseal(entry, b"seal 999")
    service.sealer.oldest_new = 1000

    report = reseal(outbox=store, subscriptions=store, sealer=service.sealer, report_progress=lambda _: None)

    assert (report.tickets, report.lost_tickets) == (0, 1)


def test_a_concurrently_changed_seal_is_kept(store: AnyStore) -> None:
    [entry] = store.outbox_page(None, 10)
    store.reseal(entry, b"seal 7")
    store.reseal(entry, b"seal 8")

    assert store.outbox_page(None, 10)[0].sealed == b"seal 7"
