"""Attribution: the actor, the reason and the request behind an event."""

from datetime import datetime

from msgspec import Struct


class Attribution(Struct, frozen=True, kw_only=True, gc=False):
    """The attribution that every event carries (docs/http-contract.md).

    timestamp: the time of the event, aware UTC (named by the eventsourcing library).
    actor: the `sub` of the caller's token.
    reason: the caller's modificationComment, at most 1000 characters.
    correlation_id: the W3C traceparent of the request.
    command_id: hex SHA-256 of client, caller and Idempotency-Key; random if the request has no key.
    request_digest: hex SHA-256 of the request; distinguishes a retry from a reused key.
    """

    timestamp: datetime
    actor: str
    reason: str | None
    correlation_id: str
    command_id: str
    request_digest: str
