"""Security event streams (OpenID Shared Signals 1.0): the receiver's view of subscriptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from application.shared.errors import SealBroken
from application.shared.ports import Sealer
from application.subscriptions.records import (
    StoredSubscription,
    SubscriptionNotFound,
    Subscriptions,
    Target,
    sealed_for,
)
from application.subscriptions.security_event import CREDENTIAL_CHANGE, TYPES, ssf_status
from domain.subscriptions.subscription import Method, SubscriptionKey

PUSH: Final = "urn:ietf:rfc:8935"
POLL: Final = "urn:ietf:rfc:8936"
SUPPORTED = [CREDENTIAL_CHANGE]


@dataclass(frozen=True)
class SecurityStreams:
    """Finds and formats streams; a stream is visible only to the receiver that created it.

    issuer: returns the issuer of a client. poll_url: returns the URL at which a stream is polled.
    """

    subscriptions: Subscriptions
    sealer: Sealer
    issuer: Callable[[str], str]
    poll_url: Callable[[SubscriptionKey], str]

    def find(self, key: SubscriptionKey, receiver: str) -> StoredSubscription:
        """Return a stream of the receiver. Raises SubscriptionNotFound, StoreUnavailable."""
        subscribed = self.subscriptions.subscription(key)
        if subscribed is None or not _is_readable_by(subscribed, receiver):
            raise SubscriptionNotFound(f"You have no stream {key.name!r} for client {key.client_ext_id!r}.")
        return subscribed

    def of(self, client_ext_id: str, receiver: str) -> Sequence[StoredSubscription]:
        """Return the streams of the receiver. Raises StoreUnavailable."""
        found = self.subscriptions.list_subscriptions(client_ext_id)
        return [subscribed for subscribed in found if _is_readable_by(subscribed, receiver)]

    def target(self, subscribed: StoredSubscription) -> Target:
        """Return the target of a stream; an empty one if its key was lost."""
        try:
            return Target.of_secret(self.sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))
        except SealBroken:
            return Target("")

    def configuration(self, subscribed: StoredSubscription) -> dict[str, Any]:
        """Return the configuration of a stream (SSF 1.0, section 8.1.1)."""
        terms = subscribed.row.terms
        polled = terms.method is Method.SET_POLL
        shown = {
            "stream_id": subscribed.row.name,
            "iss": self.issuer(subscribed.row.client_ext_id),
            "aud": terms.audience,
            "delivery": {
                "method": POLL if polled else PUSH,
                "endpoint_url": self.poll_url(subscribed.row.key) if polled else self.target(subscribed).url,
            },
            "events_supported": SUPPORTED,
            "events_delivered": delivered(terms.events_requested),
        }
        if terms.events_requested is not None:
            shown["events_requested"] = list(terms.events_requested)
        if terms.description is not None:
            shown["description"] = terms.description
        return shown


def delivered(requested: Sequence[str] | None) -> list[str]:
    """Return the supported ones of the requested event types; None: all."""
    return [event for event in SUPPORTED if requested is None or event in requested]


def types_of(requested: Sequence[str] | None) -> tuple[str, ...]:
    """Return the ledger event types for the requested event types."""
    return TYPES if delivered(requested) else ()


def status_of(subscribed: StoredSubscription) -> dict[str, Any]:
    """Return the status of a stream (SSF 1.0, section 8.1.2)."""
    row = subscribed.row
    shown = {"stream_id": row.name, "status": ssf_status(row.status)}
    return shown | ({"reason": row.status_reason} if row.status_reason else {})


def _is_readable_by(subscribed: StoredSubscription, receiver: str) -> bool:
    terms = subscribed.row.terms
    return terms.method is not Method.WEBHOOK and terms.audience == receiver
