"""Define, steer and delete subscriptions, and say how far each got."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from application.record.ledger import Ledger
from application.shared.errors import (
    PositionNotFound,
    SealBroken,
    SubscriptionNotFound,
    TargetRefused,
    TooManySubscriptions,
)
from application.shared.ports import Clock, Sealer
from application.shared.wire import Count, UtcDate, utc_date
from application.subscriptions.records import (
    SUBSCRIPTIONS,
    StoredSubscription,
    Subscriptions,
    Target,
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
    """A command about a subscription of the client that is its subject."""

    name: str

    def loads(self) -> Sequence[Load]:
        """Return every subscription of the client, and the size of its ledger."""
        return subscriptions_of(self.subject.client_ext_id)

    @property
    def subscription(self) -> SubscriptionKey:
        """Which it is."""
        return SubscriptionKey(self.subject.client_ext_id, self.name)


@dataclass(frozen=True, kw_only=True)
class DefineSubscription(SubscriptionCommand):
    """Make these the terms, all of them.

    url: where to; None for one that is polled. secret: signs what is sent. rotates: it takes the place of the one
    before; else it is used only where there is none. authorization: the header that the receiver asks for.
    after: the position after which a new one begins; None: what happens from now on.
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
    """Send nothing any more."""


@dataclass(frozen=True, kw_only=True)
class ReplaySubscription(SubscriptionCommand):
    """Send again from this position on."""

    position: int


@dataclass(frozen=True, kw_only=True)
class ChangeSubscriptionStatus(SubscriptionCommand):
    """Go on, wait or end. version: only while it is this one; None: whatever it is.

    announced: the receiver of security events, who did not ask for it, is told.
    """

    status: Status
    version: int | None = None
    announced: bool = False


class SubscriptionResponse(BaseModel):
    """A subscription, and how far it got."""

    created: UtcDate | None
    lastModified: UtcDate | None
    version: Count
    name: str
    method: Method
    origin: Annotated[
        str | None, Field(description="Of its URL, whose rest may be a secret; null where it is polled.")
    ]
    types: Annotated[list[str] | None, Field(description="Which events; null for all.")]
    batchSize: Annotated[int, Field(description="Events in one request at most.")]
    modificationComment: str | None
    status: Annotated[Status, Field(description="`parked`: tried for too long; resume it when it is mended.")]
    statusReason: Annotated[str | None, Field(description="Why it is not enabled.")]
    acknowledged: Annotated[int, Field(description="Everything up to this position has been taken.")]
    lag: Annotated[int, Field(description="How many positions the client's ledger is ahead.")]
    lastSuccess: UtcDate | None
    failures: Annotated[int, Field(description="Tries in a row that failed.")]
    failingSince: UtcDate | None
    lastError: Annotated[str | None, Field(description="What came of the last try that failed.")]
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
    private_hosts: Collection[str],
) -> Answer:
    """Add or replace a subscription; the same again changes nothing.

    private_hosts: those that may be reached by plain HTTP, too. Raises PreconditionFailed, TargetRefused,
    PositionNotFound, TooManySubscriptions.
    """
    key, by = command.subscription, command.attribution(clock())
    known = unit.all(SUBSCRIPTIONS).get(key)
    live = None if known is None or known.row.deleted else known
    command.precondition.check(live.row.version if live else None)
    if live and (live.row.terms.method is Method.WEBHOOK) is not (command.method is Method.WEBHOOK):
        raise TargetRefused(f"There is a subscription {command.name!r} of another kind. Choose another name.")
    former = _opened(live, sealer) if live else None
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
    subscribed = save(unit, subscription, sealed, None if live else _start(command, unit))
    return _done(command, Outcome.CHANGED if live else Outcome.CREATED, subscribed, unit)


def delete_subscription(
    command: DeleteSubscription, unit: UnitOfWork, *, clock: Clock, sealer: Sealer
) -> Answer:
    """Send nothing any more, and forget where it went to. Raises SubscriptionNotFound, PreconditionFailed."""
    subscribed = _subscribed(command, unit)
    command.precondition.check(subscribed.row.version)
    subscription = Subscription.of(command.subscription, subscribed.row)
    subscription.delete(by=command.attribution(clock()))
    nowhere = sealer.seal(Target("").to_secret(), sealed_for(command.subscription))
    save(unit, subscription, nowhere)
    return command.done(Outcome.DELETED, None, None)


def replay_subscription(command: ReplaySubscription, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Go back, or on, to a position. Raises SubscriptionNotFound, PreconditionFailed, PositionNotFound."""
    subscribed = _subscribed(command, unit)
    command.precondition.check(subscribed.row.version)
    after = _reached(command.position - 1, command, unit)
    subscription = Subscription.of(command.subscription, subscribed.row)
    subscription.move(after, by=command.attribution(clock()))
    subscribed = save(unit, subscription, subscribed.sealed, after)
    return _done(command, Outcome.CHANGED, subscribed, unit)


def change_subscription_status(
    command: ChangeSubscriptionStatus, unit: UnitOfWork, *, clock: Clock
) -> Answer:
    """Let a subscription go on at once, wait or end. What happens while it is disabled is never sent.

    Raises SubscriptionNotFound, PreconditionFailed.
    """
    subscribed = _subscribed(command, unit)
    command.precondition.check(subscribed.row.version)
    if command.version in (None, subscribed.row.version):
        was_disabled = subscribed.row.status is Status.DISABLED
        subscription = Subscription.of(command.subscription, subscribed.row)
        subscription.change_status(command.status, by=command.attribution(clock()))
        position = ledger_size(unit, subscribed.row.client_ext_id) if was_disabled else None
        told = command.announced and subscribed.row.terms.method is not Method.WEBHOOK
        notice = stream_updated_notice(command.status, command.reason) if told else ""
        subscribed = save(unit, subscription, subscribed.sealed, position, notice)
    return _done(command, Outcome.CHANGED, subscribed, unit)


def read_subscriptions(
    client_ext_id: str, *, subscriptions: Subscriptions, ledger: Ledger
) -> SubscriptionList:
    """Return every subscription of a client, by name. Raises StoreUnavailable."""
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
    """Return the subscription as its operations show it."""
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
    """Return scheme, host and port of a URL to which may be sent. Raises TargetRefused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise TargetRefused("url is no URL.") from None
    if parts.scheme not in ("https", "http") or not host:
        raise TargetRefused("url must begin with https:// and name a host.")
    if parts.scheme == "http" and host not in private_hosts:
        raise TargetRefused("url must begin with https://; this service sends nothing in the clear.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise TargetRefused("url must have neither a user nor a fragment.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _done(
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


def _start(command: DefineSubscription, unit: UnitOfWork) -> int:
    known = unit.all(SUBSCRIPTIONS).values()
    if sum(not subscribed.row.deleted for subscribed in known) >= MAX_PER_CLIENT:
        raise TooManySubscriptions(f"A client may have {MAX_PER_CLIENT} subscriptions. Delete one first.")
    client = command.subject.client_ext_id
    return ledger_size(unit, client) if command.after is None else _reached(command.after, command, unit)


def _reached(position: int, command: SubscriptionCommand, unit: UnitOfWork) -> int:
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


def _opened(subscribed: StoredSubscription, sealer: Sealer) -> Target | None:
    try:
        return Target.of_secret(sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))
    except SealBroken:
        return None  # the key was lost; its origin is still known, and a new definition mends it
