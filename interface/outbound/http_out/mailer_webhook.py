"""Sends tickets to a mailer by webhook, encrypted with the mailer's public key."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from standardwebhooks import Webhook

from application.delivery.courier import NotDelivered
from application.delivery.outbox import PendingDelivery
from application.shared.ports import Clock
from application.shared.wire import to_json, utc_date
from application.subscriptions.push_ports import DeliveryRejected
from domain.tickets.ticket import ClearTicket
from interface.lazy import lazy
from interface.outbound.http_out.outgoing_http import OutgoingHttp, Refused

if TYPE_CHECKING:
    from joserfc import errors, jwe, jwk
else:
    errors, jwe, jwk = lazy("joserfc.errors"), lazy("joserfc.jwe"), lazy("joserfc.jwk")

_ENCRYPTION = "A256GCM"
_CURVES = ("P-256", "P-384", "P-521", "X25519")
_MIN_RSA_BITS = 2048
# Statuses that reject the ticket for good, so that retries are useless.
_FINAL_STATUSES = (HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY)


class MailerKey:
    """The mailer's public key: a JWK, for RSA-OAEP-256 or for ECDH-ES+A256KW. Raises OSError, ValueError."""

    def __init__(self, path: Path) -> None:
        try:
            key = jwk.import_key(json.loads(path.read_bytes()))
        except (ValueError, errors.JoseError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path} does not contain a JWK") from None
        if isinstance(key, jwk.RSAKey) and key.public_key.key_size >= _MIN_RSA_BITS:
            self._algorithm = "RSA-OAEP-256"
        elif isinstance(key, jwk.ECKey | jwk.OKPKey) and key.curve_name in _CURVES:
            self._algorithm = "ECDH-ES+A256KW"
        else:
            raise ValueError(
                f"{path}: the mailer's key must be RSA of {_MIN_RSA_BITS} bits or more, or {', '.join(_CURVES)}"
            )
        if key.is_private:
            raise ValueError(f"{path} contains a private key; only the public key belongs here")
        self._key = key
        try:
            self.encrypt(b"")
        except errors.JoseError as error:
            raise ValueError(f"{path}: encryption with this key fails: {error}") from None

    def encrypt(self, content: bytes) -> str:
        """Return the content as a compact JWE (RFC 7516)."""
        header = {"alg": self._algorithm, "enc": _ENCRYPTION, "kid": self._key.kid or self._key.thumbprint()}
        return jwe.encrypt_compact(
            {**header, "cty": "json"}, content, self._key, algorithms=[self._algorithm, _ENCRYPTION]
        )


class MailerWebhook:
    """Posts each ticket and its recipient; any 2xx means that the mailer has accepted the ticket."""

    def __init__(self, http: OutgoingHttp, *, url: str, key: MailerKey, secret: str, clock: Clock) -> None:
        self._http = http
        self._url = url
        self._key = key
        self._webhook = Webhook(secret)
        self._clock = clock

    async def deliver(self, ticket: ClearTicket, pending: PendingDelivery) -> str:
        """Send the ticket and return "2xx". Raises NotDelivered."""
        message_id, now = pending.delivery_id, self._clock()
        content = to_json(
            {
                "type": "ticket.minted",
                "timestamp": utc_date(pending.entry.minted),
                "data": {"deliveryId": message_id, "ticket": self._key.encrypt(_letter(ticket, pending))},
            }
        )
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, content),
        }
        try:
            await self._http.post(self._url, headers, content.encode())
        except Refused as refusal:
            final = refusal.status in _FINAL_STATUSES
            raise NotDelivered(f"the mailer {refusal}", str(refusal.status), final=final) from None
        except DeliveryRejected as error:
            raise NotDelivered(f"the mailer's webhook: {error}", "no-answer") from None
        return "2xx"


def _letter(ticket: ClearTicket, pending: PendingDelivery) -> bytes:
    """Return the content that only the mailer can decrypt."""
    recipient, subject = pending.recipient, pending.entry.subject
    content: dict[str, Any] = {
        "clientExtId": subject.client_ext_id,
        "userExtId": subject.user_ext_id,
        "ticket": ticket.reveal(),
        "validTo": utc_date(pending.ticket.valid_to) if pending.ticket else None,
    }
    if recipient:
        content |= {
            "name": recipient.name,
            "language": recipient.language,
            "email": recipient.email,
            "postalAddress": recipient.postal_address,
            "timeZone": recipient.time_zone,
        }
    return to_json(content).encode()
