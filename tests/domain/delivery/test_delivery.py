"""The events of a delivery are stored in a separate stream per minted ticket."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent

from domain.delivery.ticket_delivery import (
    Attempt,
    DeliveryEvent,
    Obsolete,
    TicketDelivered,
    TicketDeliveryEnded,
    TicketDeliveryFailed,
    TicketDeliveryRetried,
    delivery_stream_id,
    next_event,
)
from domain.policies.policy import SendingMethod
from domain.tickets.events import stream_id
from interface.outbound.sql.codec import JsonMapper
from tests.support.fakes import NOW, attribution

STREAM = stream_id("client-123", "user-123")
ATTEMPT = Attempt(method=SendingMethod.EMAIL, attempt=2, recipient="u***@e***.com", answer="250")
Delivered, Failed, Ended = (
    TicketDelivered,
    TicketDeliveryFailed,
    TicketDeliveryEnded,
)
REPORTED: list[tuple[type[DeliveryEvent], dict[str, Any]]] = [
    (Failed, {"delivery": ATTEMPT}),
    (Delivered, {"delivery": ATTEMPT}),
    (Ended, {"why": Obsolete.REPLACED}),
    (TicketDeliveryRetried, {}),
]


def build_event(kind: type[DeliveryEvent], event_count: int = 0, version: int = 7, **reported: Any) -> Any:
    return next_event(
        kind,
        stream=STREAM,
        ticket_version=version,
        event_count=event_count,
        client_ext_id="client-123",
        user_ext_id="user-123",
        by=attribution(actor="tickets deliver", timestamp=NOW + timedelta(seconds=3 * event_count)),
        **reported,
    )


@pytest.mark.parametrize(("kind", "reported"), REPORTED)
def test_any_event_can_be_the_first_of_its_stream(
    kind: type[DeliveryEvent], reported: dict[str, Any]
) -> None:
    first = build_event(kind, 0, **reported)
    second = build_event(kind, 1, **reported)

    assert (first.originator_version, second.originator_version) == (1, 2)
    assert first.originator_id == second.originator_id == delivery_stream_id(STREAM, 7)
    assert first.originator_topic == "TicketDelivery"


def test_an_event_contains_the_user_the_actor_and_the_attempt() -> None:
    event = build_event(Failed, 0, delivery=ATTEMPT)

    assert (event.client_ext_id, event.user_ext_id, event.ticket_version) == ("client-123", "user-123", 7)
    assert (event.actor, event.timestamp, event.delivery) == ("tickets deliver", NOW, ATTEMPT)


def test_each_minted_ticket_has_a_separate_stream() -> None:
    others = [stream_id("client-123", "user-124"), stream_id("client-124", "user-123")]
    streams = [
        delivery_stream_id(stream, version) for stream in (STREAM, *others) for version in range(1, 50)
    ]

    assert len({*streams, STREAM, *others}) == 3 * 49 + 3


def test_the_stream_id_is_deterministic() -> None:
    assert str(delivery_stream_id(STREAM, 7)) == "2e7bf150-335f-5550-b2b3-cd99c0e54c9c"


@pytest.mark.parametrize(("kind", "reported"), REPORTED)
def test_stored_events_contain_no_other_fields(kind: type[DeliveryEvent], reported: dict[str, Any]) -> None:
    """Fails for each new field, so that no content is stored by accident."""
    allowed = {"originator_topic", "client_ext_id", "user_ext_id", "ticket_version", "delivery", "why"}
    event = build_event(kind, 0, **reported)

    stored = JsonMapper().to_stored_event(event)

    assert {field.name for field in fields(kind)} <= allowed | {
        *("originator_id", "originator_version", "timestamp", "actor", "reason"),
        *("correlation_id", "command_id", "request_digest", "details"),
    }
    assert {field.name for field in fields(Attempt)} == {"method", "attempt", "recipient", "answer"}
    found = JsonMapper().to_domain_event(
        StoredEvent(event.originator_id, event.originator_version, stored.topic, stored.state)
    )
    assert found == event
