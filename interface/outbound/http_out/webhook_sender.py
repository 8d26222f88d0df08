"""Webhooks with CloudEvents, signed as Standard Webhooks has it."""

from urllib.parse import quote

from standardwebhooks import Webhook

from application.feed.feed import Batch, FeedQuery, joined
from application.shared.ports import Clock
from application.subscriptions.push import Message
from application.subscriptions.records import StoredSubscription, Target
from interface.outbound.http_out.outgoing_http import OutgoingHttp

ONE = "application/cloudevents+json"
SEVERAL = "application/cloudevents-batch+json"


class WebhookSender:
    """Sends one event as it is, or several as a batch, by POST; any 2xx is an acknowledgement."""

    def __init__(self, http: OutgoingHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    def compose(self, subscribed: StoredSubscription, batch: Batch) -> Message:
        """Return the message with these events."""
        terms, client = subscribed.row.terms, subscribed.row.client_ext_id
        types = None if terms.types is None else frozenset(terms.types)
        contents = joined(FeedQuery(client, types=types), batch)
        first, last = batch.events[0].id, batch.events[-1].id
        # Of the characters that an id may have, a full stop would end it in what is signed.
        named = quote(client, safe="").replace(".", "%2E")
        if terms.batch_size == 1:
            return Message(f"{named}:{first}", contents[0], ONE)
        return Message(f"{named}:{first}-{last}", b"[%s]" % b",".join(contents), SEVERAL)

    async def send(self, target: Target, message: Message) -> None:
        """Hand over a message. Raises DeliveryRejected."""
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
