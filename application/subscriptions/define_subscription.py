"""Create or replace a subscription."""

from collections.abc import Collection, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from application.shared.errors import SealBroken
from application.shared.ports import Clock, Sealer
from application.subscriptions.records import (
    SUBSCRIPTIONS,
    StoredSubscription,
    Target,
    TargetRefused,
    TooManySubscriptions,
    ledger_size,
    save,
    sealed_for,
)
from application.subscriptions.subscription_command import SubscriptionCommand, checked_position, to_answer
from application.transaction.command import Answer
from application.transaction.new_ids import check_new_id_in_client, client_of_new_id
from application.transaction.outcomes import Outcome
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.secret import Secret
from domain.subscriptions.subscription import Method, Subscription, Terms


class DefineSubscription(SubscriptionCommand, frozen=True, kw_only=True):
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

    def loads(self) -> Sequence[Load]:
        """Return also whether the client exists, where a subscription could not create it."""
        return [*super().loads(), *client_of_new_id(self.subject.client_ext_id)]


def define_subscription(
    command: DefineSubscription,
    unit: UnitOfWork,
    *,
    clock: Clock,
    sealer: Sealer,
    private_hosts: frozenset[str],
    subscriptions_per_client: int,
    streams_per_caller: int,
) -> Answer:
    """Create or replace a subscription; idempotent.

    private_hosts: the hosts that may be reached by plain HTTP. subscriptions_per_client: the limit of subscriptions and
    streams. streams_per_caller: the limit of the streams of a receiver. Raises PreconditionFailed, TargetRefused,
    PositionNotFound, TooManySubscriptions, InvalidIdentifier.
    """
    key, by = command.subscription, command.attribution(clock())
    known = unit.all(SUBSCRIPTIONS).get(key)
    live = None if known is None or known.row.deleted else known
    command.precondition.check(live.row.version if live else None)
    if live and (live.row.terms.method is Method.WEBHOOK) is not (command.method is Method.WEBHOOK):
        raise TargetRefused(f"Subscription {command.name!r} exists with another kind. Choose another name.")
    if live is None:
        _check_limits(command, unit, subscriptions_per_client, streams_per_caller)
    if not known:
        check_new_id_in_client(unit, key.client_ext_id, "name", command.name)
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
    return to_answer(command, Outcome.CHANGED if live else Outcome.CREATED, subscribed, unit)


def origin_of(url: str, private_hosts: Collection[str]) -> str:
    """Return the scheme, host and port of an allowed URL. Raises TargetRefused."""
    if not url.isprintable() or " " in url:
        raise TargetRefused("url must not contain spaces, control characters or invisible characters.")
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


def _check_limits(command: DefineSubscription, unit: UnitOfWork, per_client: int, per_caller: int) -> None:
    rows = [subscribed.row for subscribed in unit.all(SUBSCRIPTIONS).values() if not subscribed.row.deleted]
    if len(rows) >= per_client:
        raise TooManySubscriptions(
            f"A client may have {per_client} subscriptions and streams (TICKETS_SUBSCRIPTIONS_PER_CLIENT). Delete one first."
        )
    if command.audience and sum(row.terms.audience == command.audience for row in rows) >= per_caller:
        raise TooManySubscriptions(
            f"A caller may have {per_caller} streams of a client (TICKETS_STREAMS_PER_CALLER). Delete one first."
        )


def _start_position(command: DefineSubscription, unit: UnitOfWork) -> int:
    client = command.subject.client_ext_id
    return (
        ledger_size(unit, client) if command.after is None else checked_position(command.after, command, unit)
    )


def _open_target(subscribed: StoredSubscription, sealer: Sealer) -> Target | None:
    try:
        return Target.of_secret(sealer.unseal(subscribed.sealed, sealed_for(subscribed.row.key)))
    except SealBroken:
        return None  # the key was lost; a new definition repairs the subscription
