"""Poll: a receiver fetches and acknowledges the security events of its stream (RFC 8936)."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from application.feed.feed import FeedQuery, read_feed
from application.feed.feed_event import FeedEvent
from application.feed.live_feed import LiveFeed
from application.record.eras import NO_ERAS
from application.record.ledger import Ledger
from application.shared.ports import Clock
from application.subscriptions.records import Progress, StoredSubscription, Subscriptions
from application.subscriptions.security_event import SecurityEvents, event_of, notice_jti
from domain.subscriptions.subscription import Status, SubscriptionState

WAIT_SECONDS = 30
MAX_TOKENS = 100
_MAX_OUT_OF_ORDER = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Poll:
    """A poll request. acknowledged, refused: tokens by their jti, refused ones with the reason."""

    acknowledged: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    limit: int = MAX_TOKENS
    returns_immediately: bool = False


class PollResult(NamedTuple):
    """Tokens by their jti, and whether more are available."""

    tokens: dict[str, str]
    more: bool


@dataclass(frozen=True)
class Polling:
    """Answers polls. origin: the prefix of the origin of each ledger."""

    subscriptions: Subscriptions
    ledger: Ledger
    live: LiveFeed
    events: SecurityEvents
    origin: str
    clock: Clock

    async def poll(self, subscribed: StoredSubscription, poll: Poll) -> PollResult:
        """Record the acknowledgements and return the next tokens, or none after a time-out.

        Unacknowledged tokens are returned again. Raises PositionNotFound, StoreUnavailable.
        """
        row = subscribed.row
        progress, notice = await asyncio.to_thread(self._acknowledge, subscribed, poll)
        if poll.limit == 0 or row.status is not Status.ENABLED:
            return PollResult({}, more=False)
        query = _query(row, progress)
        wait_seconds = 0 if notice or poll.returns_immediately else WAIT_SECONDS
        batch = await self.live.read(query, poll.limit + len(progress.beyond) + 1, wait_seconds)
        if not batch.events and batch.seen > progress.acknowledged:
            seen = replace(progress, acknowledged=batch.seen)
            await asyncio.to_thread(self.subscriptions.save_progress, [(row.key, row.version, seen)])
        fresh = [event for event in batch.events if event.position not in progress.beyond]
        tokens = await asyncio.to_thread(self._signed, row, fresh[: poll.limit], notice)
        return PollResult(tokens, more=len(fresh) > poll.limit)

    def _signed(self, row: SubscriptionState, events: Sequence[FeedEvent], notice: str) -> dict[str, str]:
        notices = [self.events.of_notice(row, notice)] if notice else []
        return dict([*notices, *(self.events.of_event(row, event) for event in events)])

    def _acknowledge(self, subscribed: StoredSubscription, poll: Poll) -> tuple[Progress, str]:
        """Save the acknowledgements; return the progress and the pending notice."""
        row, progress = subscribed.row, subscribed.progress
        notice = self.subscriptions.notice(row.key)
        for jti, why in poll.refused.items():
            log.warning("the receiver of stream %r refused %.60r: %.100r", row.name, jti, why)
        answered = {*poll.acknowledged, *poll.refused}
        if notice and notice_jti(row.name, notice) in answered:
            self.subscriptions.delete_notice(row.key, notice)
            notice = ""
        known = [named for named in (event_of(jti, row.name) for jti in answered) if named]
        eras = self.ledger.eras(row.client_ext_id) if known else NO_ERAS
        # Acknowledgements of events that a restore removed are ignored.
        positions = {named.position for named in known if named.position and eras.holds(named)}
        if not positions:
            return progress, notice
        pending = {*progress.beyond, *positions}
        reached = progress.acknowledged
        events = read_feed(_query(row, progress), len(pending), ledger=self.ledger, origin=self.origin)
        for event in events:
            if event.position not in pending:
                break
            reached = event.position
        beyond = sorted(
            position for position in pending if reached < position <= self.ledger.size(row.client_ext_id)
        )
        refusal = next(iter(poll.refused.values()), None)
        progress = Progress(
            acknowledged=reached,
            beyond=tuple(beyond[:_MAX_OUT_OF_ORDER]),
            last_success=self.clock(),
            last_error=refusal and f"refused: {refusal}",
        )
        self.subscriptions.save_progress([(row.key, row.version, progress)])
        return progress, notice


def _query(row: SubscriptionState, progress: Progress) -> FeedQuery:
    return FeedQuery(row.client_ext_id, progress.acknowledged, frozenset(row.terms.types or ()))
