"""Security events: what happens as OpenID Shared Signals has it, a CAEP `credential-change` in a token (RFC 8417)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from application.feed.feed import CloudEvent, FeedEvent
from application.record.eras import EventId, parse_event_id
from application.shared.ports import Clock
from application.shared.wire import to_json
from domain.subscriptions.subscription import Status, SubscriptionState
from domain.tickets.states import State

CREDENTIAL_CHANGE = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
STREAM_UPDATED = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
MEDIA_TYPE = "application/secevent+jwt"
# CAEP leaves other types than its own to the two sides.
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
"""The events of the ledger that are credential changes."""


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
    """Makes the tokens of a stream. issuer: of what happens in a client."""

    issuer: Callable[[str], str]
    signer: TokenSigner
    clock: Clock

    def of_event(self, row: SubscriptionState, event: FeedEvent) -> Token:
        """Return the token of an event, which is one of TYPES."""
        said: CloudEvent = msgspec.json.decode(event.to_json(event.position - 1))
        change_type, initiator, reasons = _CHANGES[event.type]
        if said["data"]["changed"].get("stateName") in _REVOKING:
            change_type = "revoke"
        reason = said["data"]["reason"]
        change = {
            "credential_type": CREDENTIAL_TYPE,
            "change_type": change_type,
            "initiating_entity": initiator,
            "reason_admin": {
                language: f"{text}: {reason}" if reason else text for language, text in reasons.items()
            },
            "event_timestamp": int(datetime.fromisoformat(said["time"]).timestamp()),
        }
        subject = {
            "format": "iss_sub",
            "iss": self.issuer(row.client_ext_id),
            "sub": said["data"]["userExtId"],
        }
        claims = self._claims(row, jti_of(row.name, event.id), subject, {CREDENTIAL_CHANGE: change})
        if trace := said.get("traceparent"):
            claims["txn"] = trace.split("-")[1]
        return Token(claims["jti"], self.signer.sign(claims))

    def of_notice(self, row: SubscriptionState, notice: str) -> Token:
        """Return the token that says something about the stream itself."""
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
    """Return the identity of the token of an event in a stream."""
    return f"{stream_id}:{event}"


def event_of(jti: str, stream_id: str) -> EventId | None:
    """Return the event that a token of the stream is about; None: it is about none."""
    named, _, event = jti.rpartition(":")
    try:
        return parse_event_id(event) if named == stream_id else None
    except ValueError:
        return None


def notice_jti(stream_id: str, notice: str) -> str:
    """Return the identity of the token of a notice."""
    return f"{stream_id}:notice-{hashlib.sha256(notice.encode()).hexdigest()[:16]}"


def verification_notice(state: str | None) -> str:
    """Return the notice by which a receiver sees that the stream works."""
    return to_json({VERIFICATION: {} if state is None else {"state": state}})


def stream_updated_notice(status: Status, reason: str | None) -> str:
    """Return the notice that the stream has another status, which its receiver did not ask for."""
    said = {"status": ssf_status(status)}
    return to_json({STREAM_UPDATED: said | ({"reason": reason} if reason else {})})


def ssf_status(status: Status) -> str:
    """Return a status as Shared Signals names it: what is parked is paused, too."""
    return Status.PAUSED if status is Status.PARKED else status
