"""Security event tokens (RFC 8417) with CAEP `credential-change` events, as defined by OpenID Shared Signals."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

from application.feed.feed_event import FeedEvent
from application.record.eras import EventId, parse_event_id
from application.shared.ports import Clock
from application.shared.wire import to_json
from domain.subscriptions.subscription import Status, SubscriptionState
from domain.tickets.states import State

CREDENTIAL_CHANGE = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
STREAM_UPDATED = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
MEDIA_TYPE = "application/secevent+jwt"
# CAEP allows types that transmitter and receiver have agreed on.
CREDENTIAL_TYPE = "ticket"

_REVOKING = (State.DISABLED, State.ARCHIVED)
_ADMIN, _POLICY = "admin", "policy"
_CHANGES: dict[str, tuple[str, str, dict[str, str]]] = {
    "TicketCreated": (
        "create",
        _ADMIN,
        {"en": "Ticket created", "de": "Ticket erstellt", "fr": "Ticket créé", "it": "Ticket creato"},
    ),
    "TicketRegenerated": (
        "update",
        _ADMIN,
        {
            "en": "Ticket reset",
            "de": "Ticket zurückgesetzt",
            "fr": "Ticket réinitialisé",
            "it": "Ticket reimpostato",
        },
    ),
    "TicketStateChanged": (
        "update",
        _ADMIN,
        {
            "en": "State of the ticket changed",
            "de": "Status des Tickets geändert",
            "fr": "État du ticket modifié",
            "it": "Stato del ticket modificato",
        },
    ),
    "TicketValidityChanged": (
        "update",
        _ADMIN,
        {
            "en": "Validity of the ticket changed",
            "de": "Gültigkeit des Tickets geändert",
            "fr": "Validité du ticket modifiée",
            "it": "Validità del ticket modificata",
        },
    ),
    "TicketExpired": (
        "revoke",
        _POLICY,
        {"en": "Ticket expired", "de": "Ticket abgelaufen", "fr": "Ticket expiré", "it": "Ticket scaduto"},
    ),
    "TicketDeleted": (
        "delete",
        _ADMIN,
        {"en": "Ticket deleted", "de": "Ticket gelöscht", "fr": "Ticket supprimé", "it": "Ticket eliminato"},
    ),
}
TYPES = tuple(_CHANGES)
"""The event types that are credential changes."""


class TokenSigner(Protocol):
    """Signs security event tokens."""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the token (a JWS in compact form, RS256, `typ` `secevent+jwt`)."""


class Token(NamedTuple):
    """A signed security event token."""

    jti: str
    token: str


@dataclass(frozen=True)
class SecurityEvents:
    """Creates the tokens of a stream. issuer: returns the issuer of a client."""

    issuer: Callable[[str], str]
    signer: TokenSigner
    clock: Clock

    def of_event(self, row: SubscriptionState, event: FeedEvent) -> Token:
        """Return the token of an event; its type is one of TYPES."""
        change_type, initiator, reasons = _CHANGES[event.type]
        if event.changed.get("stateName") in _REVOKING:
            change_type = "revoke"
        change = {
            "credential_type": CREDENTIAL_TYPE,
            "change_type": change_type,
            "initiating_entity": initiator,
            "reason_admin": {
                language: f"{text}: {event.reason}" if event.reason else text
                for language, text in reasons.items()
            },
            "event_timestamp": int(event.time.timestamp()),
        }
        subject = {
            "format": "iss_sub",
            "iss": self.issuer(row.client_ext_id),
            "sub": event.user_ext_id or None,
        }
        claims = self._claims(row, jti_of(row.name, event.id), subject, {CREDENTIAL_CHANGE: change})
        if event.traceparent:
            claims["txn"] = event.traceparent.split("-")[1]
        return Token(claims["jti"], self.signer.sign(claims))

    def of_notice(self, row: SubscriptionState, notice: str) -> Token:
        """Return the token of a notice about the stream itself."""
        jti = notice_jti(row.name, notice)
        subject = {"format": "opaque", "id": row.name}
        return Token(jti, self.signer.sign(self._claims(row, jti, subject, msgspec.json.decode(notice))))

    def _claims(
        self, row: SubscriptionState, jti: str, subject: Mapping[str, Any], events: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "iss": self.issuer(row.client_ext_id),
            "jti": jti,
            "iat": int(self.clock().timestamp()),
            "aud": row.terms.audience,
            "sub_id": subject,
            "events": events,
        }


def jti_of(stream_id: str, event: EventId) -> str:
    """Return the jti of the token of an event in a stream."""
    return f"{stream_id}:{event}"


def event_of(jti: str, stream_id: str) -> EventId | None:
    """Return the event of a token of the stream; None: not an event token of this stream."""
    named, _, event = jti.rpartition(":")
    try:
        return parse_event_id(event) if named == stream_id else None
    except ValueError:
        return None


def notice_jti(stream_id: str, notice: str) -> str:
    """Return the jti of the token of a notice."""
    return f"{stream_id}:notice-{hashlib.sha256(notice.encode()).hexdigest()[:16]}"


def verification_notice(state: str | None) -> str:
    """Return the verification notice, with which a receiver tests the stream."""
    return to_json({VERIFICATION: {} if state is None else {"state": state}})


def stream_updated_notice(status: Status, reason: str | None) -> str:
    """Return the notice that the transmitter changed the status of the stream."""
    content = {"status": ssf_status(status)}
    return to_json({STREAM_UPDATED: content | ({"reason": reason} if reason else {})})


def ssf_status(status: Status) -> str:
    """Return the Shared Signals status: parked is mapped to paused."""
    return Status.PAUSED if status is Status.PARKED else status
