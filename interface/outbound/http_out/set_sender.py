"""Pushes security event tokens (RFC 8935)."""

import json
import re

from application.feed.feed import Batch
from application.subscriptions.push_ports import DeliveryRejected, Message
from application.subscriptions.records import StoredSubscription, Target
from application.subscriptions.security_event import MEDIA_TYPE, SecurityEvents, Token
from interface.outbound.http_out.outgoing_http import OutgoingHttp, Refused

_ERROR = re.compile(r"[a-z_]{1,64}")


class SetSender:
    """Sends one token at a time, by POST; any 2xx is an acknowledgement."""

    def __init__(self, http: OutgoingHttp, events: SecurityEvents) -> None:
        self._http = http
        self._events = events

    def compose(self, subscribed: StoredSubscription, batch: Batch) -> Message:
        """Return the token of the batch's only event."""
        [event] = batch.events
        return _message(self._events.of_event(subscribed.row, event))

    def compose_notice(self, subscribed: StoredSubscription, notice: str) -> Message:
        """Return the token of a notice about the stream itself."""
        return _message(self._events.of_notice(subscribed.row, notice))

    async def send(self, target: Target, message: Message) -> None:
        """Send a token. Raises DeliveryRejected."""
        headers = {"Content-Type": message.media_type, "Accept": "application/json"}
        if target.authorization:
            headers["Authorization"] = target.authorization
        try:
            await self._http.post(target.url, headers, message.content)
        except Refused as refusal:
            reason = f"{refusal}{_error(refusal.content)}"
            raise DeliveryRejected(reason, gone=refusal.gone, retry_after=refusal.retry_after) from None


def _message(made: Token) -> Message:
    return Message(made.jti, made.token.encode(), MEDIA_TYPE)


def _error(content: bytes) -> str:
    """Return the error code of RFC 8935, section 2.3, if there is one."""
    try:
        found = json.loads(content)["err"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {found}" if isinstance(found, str) and _ERROR.fullmatch(found) else ""
