"""Webhooks with CloudEvents, signed according to Standard Webhooks."""

from urllib.parse import quote

from standardwebhooks import Webhook

from application.feed.feed import Batch, FeedQuery
from application.feed.formats import CLOUD_EVENTS
from application.shared.ports import Clock
from application.subscriptions.push_ports import Message
from application.subscriptions.records import StoredSubscription, Target
from interface.outbound.http_out.outgoing_http import OutgoingHttp


class WebhookSender:
    """Posts a single event, or several as a batch; any 2xx is an acknowledgement."""

    def __init__(self, http: OutgoingHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    def compose(self, subscribed: StoredSubscription, batch: Batch) -> Message:
        """Return the message with these events."""
        terms, client = subscribed.row.terms, subscribed.row.client_ext_id
        types = None if terms.types is None else frozenset(terms.types)
        query = FeedQuery(client, types=types)
        first, last = batch.events[0].id, batch.events[-1].id
        # A full stop separates the id from the rest in the signed text.
        named = quote(client, safe="").replace(".", "%2E")
        if terms.batch_size == 1:
            [content] = CLOUD_EVENTS.encode_batch(query, batch)
            return Message(f"{named}:{first}", content, CLOUD_EVENTS.event_media_type)
        content = CLOUD_EVENTS.encode_page(query, batch)
        return Message(f"{named}:{first}-{last}", content, CLOUD_EVENTS.media_type)

    async def send(self, target: Target, message: Message) -> None:
        """Send a message. Raises DeliveryRejected."""
        now = self._clock()
        signatures = [
            Webhook(secret).sign(message.id, now, message.content.decode())
            for secret in target.secrets_at(now)
        ]
        headers = {
            "Content-Type": message.media_type,
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        await self._http.post(target.url, headers, message.content)
