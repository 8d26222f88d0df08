"""Read subscriptions and their progress."""

from typing import Annotated

from pydantic import BaseModel, Field

from application.record.ledger import Ledger
from application.shared.wire import Count, UtcDate, utc_date
from application.subscriptions.records import StoredSubscription, Subscriptions, not_found
from domain.subscriptions.subscription import Method, Status, SubscriptionKey


class SubscriptionResponse(BaseModel):
    """A subscription and its progress."""

    created: UtcDate | None
    lastModified: UtcDate | None
    version: Count
    name: str
    method: Method
    origin: Annotated[str | None, Field(description="The origin of the URL; null if polled.")]
    types: Annotated[list[str] | None, Field(description="Event types; null for all.")]
    batchSize: Annotated[int, Field(description="Maximum events per request.")]
    modificationComment: str | None
    status: Annotated[
        Status, Field(description="`parked`: retries were exhausted; resume it after the repair.")
    ]
    statusReason: Annotated[str | None, Field(description="Reason for the status, if not `enabled`.")]
    acknowledged: Annotated[int, Field(description="Events up to this position are acknowledged.")]
    lag: Annotated[int, Field(description="Number of positions behind the client's ledger.")]
    lastSuccess: UtcDate | None
    failures: Annotated[int, Field(description="Consecutive failures.")]
    failingSince: UtcDate | None
    lastError: Annotated[str | None, Field(description="Error of the last failed attempt.")]
    nextTry: UtcDate | None


class SubscriptionList(BaseModel):
    """Every subscription of a client."""

    items: list[SubscriptionResponse]


def read_subscriptions(
    client_ext_id: str, *, subscriptions: Subscriptions, ledger: Ledger
) -> SubscriptionList:
    """Return the subscriptions of a client, sorted by name. Raises StoreUnavailable."""
    found, size = subscriptions.list_subscriptions(client_ext_id), ledger.size(client_ext_id)
    return SubscriptionList(items=[to_response(subscribed, size) for subscribed in found])


def read_subscription(
    key: SubscriptionKey, *, subscriptions: Subscriptions, ledger: Ledger
) -> SubscriptionResponse:
    """Return one subscription. Raises SubscriptionNotFound, StoreUnavailable."""
    subscribed = subscriptions.subscription(key)
    if subscribed is None:
        raise not_found(key)
    return to_response(subscribed, ledger.size(key.client_ext_id))


def to_response(subscribed: StoredSubscription, ledger_size: int) -> SubscriptionResponse:
    """Return the response for a subscription."""
    row, progress = subscribed.row, subscribed.progress
    return SubscriptionResponse(
        created=utc_date(row.created),
        lastModified=utc_date(row.last_modified),
        version=row.version,
        name=row.name,
        method=row.terms.method,
        origin=row.terms.origin or None,
        types=list(row.terms.types) if row.terms.types is not None else None,
        batchSize=row.terms.batch_size,
        modificationComment=row.modification_comment,
        status=row.status,
        statusReason=row.status_reason,
        acknowledged=progress.acknowledged,
        lag=max(0, ledger_size - progress.acknowledged),
        lastSuccess=utc_date(progress.last_success),
        failures=progress.failures,
        failingSince=utc_date(progress.failing_since),
        lastError=progress.last_error,
        nextTry=utc_date(progress.next_try),
    )
