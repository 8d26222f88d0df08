"""Define, control and delete subscriptions, and read their progress."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from application.record.eras import PositionNotFound
from application.record.ledger import Ledger
from application.shared.errors import SealBroken
from application.shared.ports import Clock, Sealer
from application.shared.wire import Count, UtcDate, utc_date
from application.subscriptions.records import (
    SUBSCRIPTIONS,
    StoredSubscription,
    SubscriptionNotFound,
    Subscriptions,
    Target,
    TargetRefused,
    TooManySubscriptions,
    ledger_size,
    save,
    sealed_for,
    subscriptions_of,
)
from application.subscriptions.security_event import stream_updated_notice
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, Status, Subscription, SubscriptionKey, Terms

MAX_PER_CLIENT = 100


@dataclass(frozen=True, kw_only=True)
class SubscriptionCommand(Command):
    """A command about a subscription of the client."""

    name: str

    def loads(self) -> Sequence[Load]:
        """Return every subscription of the client, and the size of its ledger."""
        return subscriptions_of(self.subject.client_ext_id)

    @property
    def subscription(self) -> SubscriptionKey:
        """The identity of the subscription."""
        return SubscriptionKey(self.subject.client_ext_id, self.name)


@dataclass(frozen=True, kw_only=True)
class DefineSubscription(SubscriptionCommand):
    """Create or replace a subscription.

    url: None if it is polled. secret: the signing secret; with `rotates` it replaces the former one, otherwise it is used
    only if there is no former one. authorization: the value of the Authorization header. after: the position after which
    a new subscription starts; None: with the next event.
    """

    method: Method
    url: Secret | None = None
    secret: Secret | None = None
    rotates: bool = False
    authorization: Secret | None = None
    types: tuple[str, ...] | None = None
    batch_size: int = 1
    audience: str | None = None
    events_requested: tuple[str, ...] | None = None
    description: str | None = None
    after: int | None = None


@dataclass(frozen=True, kw_only=True)
class DeleteSubscription(SubscriptionCommand):
    """Delete a subscription."""


@dataclass(frozen=True, kw_only=True)
class ReplaySubscription(SubscriptionCommand):
    """Continue from this position."""

    position: int


@dataclass(frozen=True, kw_only=True)
class ChangeSubscriptionStatus(SubscriptionCommand):
    """Enable, pause or disable a subscription.

    version: the required version; None: any. announced: notify the receiver of security events.
    """

    status: Status
    version: int | None = None
    announced: bool = False


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


def define_subscription(
    command: DefineSubscription,
    unit: UnitOfWork,
    *,
    clock: Clock,
    sealer: Sealer,
    private_hosts: frozenset[str],
) -> Answer:
    """Create or replace a subscription; idempotent.

    private_hosts: the hosts that may be reached by plain HTTP. Raises PreconditionFailed, TargetRefused,
    PositionNotFound, TooManySubscriptions.
    """
    key, by = command.subscription, command.attribution(clock())
    known = unit.all(SUBSCRIPTIONS).get(key)
    live = None if known is None or known.row.deleted else known
    command.precondition.check(live.row.version if live else None)
    if live and (live.row.terms.method is Method.WEBHOOK) is not (command.method is Method.WEBHOOK):
        raise TargetRefused(f"Subscription {command.name!r} exists with another kind. Choose another name.")
    former = _open_target(live, sealer) if live else None
    target = _target(command, former, by.timestamp)
    terms = Terms(
        method=command.method,
        origin=origin_of(target.url, private_hosts) if command.url else "",
        types=command.types,
        batch_size=command.batch_size,
        audience=command.audience,
        events_requested=command.events_requested,
        description=command.description,
    )
    subscription = Subscription.of(key, known.row if known else None)
    subscription.define(key, terms, resealed=target != former, by=by)
    sealed = live.sealed if live and target == former else sealer.seal(target.to_secret(), sealed_for(key))
    subscribed = save(unit, subscription, sealed, None if live else _start_position(command, unit))
    return _answer(command, Outcome.CHANGED if live else Outcome.CREATED, subscribed, unit)


def delete_subscription(
    command: DeleteSubscription, unit: UnitOfWork, *, clock: Clock, sealer: Sealer
) -> Answer:
    """Delete a subscription and its target. Raises SubscriptionNotFound, PreconditionFailed."""
    subscribed = _subscribed(command, unit)
    command.precondition.check(subscribed.row.version)
    subscription = Subscription.of(command.subscription, subscribed.row)
    subscription.delete(by=command.attribution(clock()))
    empty = sealer.seal(Target("").to_secret(), sealed_for(command.subscription))
    save(unit, subscription, empty)
    return command.done(Outcome.DELETED, None, None)


def replay_subscription(command: ReplaySubscription, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Move a subscription to a position. Raises SubscriptionNotFound, PreconditionFailed, PositionNotFound."""
    subscribed = _subscribed(command, unit)
    command.precondition.check(subscribed.row.version)
    after = _checked_position(command.position - 1, command, unit)
    subscription = Subscription.of(command.subscription, subscribed.row)
    subscription.move(after, by=command.attribution(clock()))
    subscribed = save(unit, subscription, subscribed.sealed, after)
    return _answer(command, Outcome.CHANGED, subscribed, unit)


def change_subscription_status(
    command: ChangeSubscriptionStatus, unit: UnitOfWork, *, clock: Clock
) -> Answer:
    """Enable, pause or disable a subscription. Events that occur while it is disabled are never sent.

    Raises SubscriptionNotFound, PreconditionFailed.
    """
    subscribed = _subscribed(command, unit)
    command.precondition.check(subscribed.row.version)
    if command.version in (None, subscribed.row.version):
        was_disabled = subscribed.row.status is Status.DISABLED
        subscription = Subscription.of(command.subscription, subscribed.row)
        subscription.change_status(command.status, by=command.attribution(clock()))
        position = ledger_size(unit, subscribed.row.client_ext_id) if was_disabled else None
        announced = command.announced and subscribed.row.terms.method is not Method.WEBHOOK
        notice = stream_updated_notice(command.status, command.reason) if announced else ""
        subscribed = save(unit, subscription, subscribed.sealed, position, notice)
    return _answer(command, Outcome.CHANGED, subscribed, unit)


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
        raise _unknown(key)
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


def origin_of(url: str, private_hosts: Collection[str]) -> str:
    """Return the scheme, host and port of an allowed URL. Raises TargetRefused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise TargetRefused("url is not a valid URL.") from None
    if parts.scheme not in ("https", "http") or not host:
        raise TargetRefused("url must start with https:// and contain a host.")
    if parts.scheme == "http" and host not in private_hosts:
        raise TargetRefused("url must start with https://; plain HTTP is not allowed.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise TargetRefused("url must not contain a user or a fragment.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _answer(
    command: SubscriptionCommand, outcome: Outcome, subscribed: StoredSubscription, unit: UnitOfWork
) -> Answer:
    response = to_response(subscribed, ledger_size(unit, command.subject.client_ext_id))
    return command.done(outcome, subscribed.row.version, response)


def _target(command: DefineSubscription, former: Target | None, now: datetime) -> Target:
    kept = former or Target("")
    target = Target(
        command.url.reveal() if command.url else "",
        kept.secrets,
        command.authorization.reveal() if command.authorization else None,
    )
    if command.secret and (command.rotates or not kept.secrets):
        return target.rotated(command.secret.reveal(), now)
    return target


def _start_position(command: DefineSubscription, unit: UnitOfWork) -> int:
    known = unit.all(SUBSCRIPTIONS).values()
    if sum(not subscribed.row.deleted for subscribed in known) >= MAX_PER_CLIENT:
        raise TooManySubscriptions(f"A client may have {MAX_PER_CLIENT} subscriptions. Delete one first.")
    client = command.subject.client_ext_id
    return (
        ledger_size(unit, client)
        if command.after is None
        else _checked_position(command.after, command, unit)
    )


def _checked_position(position: int, command: SubscriptionCommand, unit: UnitOfWork) -> int:
    size = ledger_size(unit, command.subject.client_ext_id)
    if position > size:
        raise PositionNotFound(f"The ledger of the client ends at position {size}.")
    return position


def _subscribed(command: SubscriptionCommand, unit: UnitOfWork) -> StoredSubscription:
    subscribed = unit.all(SUBSCRIPTIONS).get(command.subscription)
    if subscribed is None or subscribed.row.deleted:
        raise _unknown(command.subscription)
    return subscribed


def _unknown(key: SubscriptionKey) -> SubscriptionNotFound:
    return SubscriptionNotFound(f"Client {key.client_ext_id!r} has no subscription {key.name!r}.")


def _open_target(subscribed: StoredSubscription, sealer: Sealer) -> Target | None:
    try:
        return Target.of_secret(sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))
    except SealBroken:
        return None  # the key was lost; a new definition repairs the subscription
