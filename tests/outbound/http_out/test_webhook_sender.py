"""A webhook gets each event of its batch, since its acknowledgement covers all of them."""

import asyncio

from application.feed.feed import Batch
from application.feed.feed_event import FeedEvent
from application.record.objects import EventObject
from application.shared.paging import PAGE_BYTES
from application.subscriptions.records import Progress, StoredSubscription, Target
from domain.subscriptions.subscription import Method, Status, SubscriptionState, Terms
from interface.outbound.http_out.outgoing_http import OutgoingHttp
from interface.outbound.http_out.webhook_sender import WebhookSender
from tests.support.fakes import NOW
from tests.support.receiver import receiving

EVENTS = 300


def commented(position: int) -> FeedEvent:
    return FeedEvent(
        position=position,
        source="tickets/client-123",
        type="TicketModified",
        time=NOW,
        user_ext_id="user-123",
        version=position,
        actor="anna",
        reason="\N{GRINNING FACE}" * 1000,
        traceparent="",
        changed={},
        object=EventObject("TicketCredential", "t-1", "t-1"),
    )


def test_a_batch_over_1_mib_is_sent_with_every_event() -> None:
    state = SubscriptionState(
        client_ext_id="client-123",
        name="siem",
        version=1,
        terms=Terms(method=Method.WEBHOOK, origin="http://127.0.0.1", batch_size=1000),
        status=Status.ENABLED,
        status_reason=None,
        created=NOW,
        last_modified=NOW,
        modification_comment=None,
    )
    batch = Batch(0, [commented(position) for position in range(1, EVENTS + 1)], EVENTS)

    async def push(url: str) -> None:
        http = OutgoingHttp({"127.0.0.1"}, timeout_seconds=60)
        try:
            sender = WebhookSender(http, lambda: NOW)
            subscribed = StoredSubscription(state, b"", Progress(acknowledged=0))
            await sender.send(Target(url), sender.compose(subscribed, batch))
        finally:
            await http.close()

    with receiving() as receiver:
        asyncio.run(push(receiver.url("/hook")))

    assert len(receiver.received[0].body) > PAGE_BYTES
    assert receiver.positions("/hook") == list(range(1, EVENTS + 1))
