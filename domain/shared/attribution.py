"""Who changed a credential, why, and by which request."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The why and who that every event carries.

    timestamp: when it happened, aware UTC (the library's name for an event's time).
    actor: the `sub` of the caller's token.
    reason: the caller's modificationComment, at most 1000 characters.
    correlation_id: the W3C traceparent of the request.
    command_id: hex SHA-256 of client, caller and Idempotency-Key; a random one where the caller gave no key.
    request_digest: hex SHA-256 of the request, by which a reused key is told from a retry.
    """

    timestamp: datetime
    actor: str
    reason: str | None
    correlation_id: str
    command_id: str
    request_digest: str
