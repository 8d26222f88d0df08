"""The HTTP application over the service, composed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from application.feed.live_feed import LiveFeed
from application.operations.caller_watch import Activity, CallerWatch
from application.record.access_log import AccessRecorder
from application.tickets.slow_hashing import SlowHashing
from application.transaction.group_read import GroupRead
from interface.composition.background_work import BackgroundWork
from interface.composition.process import cancelled, freeze_gc, install_signal_handlers
from interface.composition.register import RouteContext, rooms
from interface.composition.service import RunningService
from interface.composition.telemetry import Telemetry, probe_of
from interface.http.core.app import create_app
from interface.http.core.authentication import TokenVerifier
from interface.http.core.bounded_protocol import OBSERVE
from interface.http.core.call import Service
from interface.http.core.concurrency_limit import ConcurrencyLimit
from interface.http.core.large_answers import LargeAnswers
from interface.http.core.rate_limits import RateLimits, parse_limit
from interface.http.core.room import Room
from interface.outbound.keys.argon2_hash import Argon2Hash
from interface.outbound.keys.issuer_keys import IssuerKeys
from interface.outbound.keys.key_set import KeySet, read_key_set
from interface.outbound.keys.token_key import TokenKey
from interface.outbound.system import SystemRandomness, prefer_other_threads, system_clock
from interface.settings import InvalidSettings, Settings

log = logging.getLogger(__name__)


def token_keys(settings: Settings, observe: Callable[[float], None] = lambda _: None) -> KeySet | IssuerKeys:
    """Return the keys that verify tokens. observe: see IssuerKeys. Raises InvalidSettings."""
    if settings.jwks_url:
        return IssuerKeys(
            settings.jwks_url,
            lifespan_seconds=settings.jwks_lifespan_seconds,
            cooldown_seconds=settings.jwks_cooldown_seconds,
            stale_seconds=settings.jwks_stale_seconds,
            observe=observe,
        )
    try:
        if not settings.jwks_file:
            return TokenKey(settings.token_key_file).key_set()
        found = read_key_set(settings.jwks_file.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"the keys for tokens cannot be read: {error}") from error
    if not found.keys:
        faults = "; ".join(found.refused) or "it is empty"
        raise InvalidSettings(f"{settings.jwks_file} has no accepted key: {faults}")
    return found


def rate_limits_of(settings: Settings) -> RateLimits:
    """Return the rate limits. Raises InvalidSettings."""
    limits = {
        "per_caller": settings.rate_limit_per_caller,
        "per_client": settings.rate_limit_per_client,
        "per_credential": settings.rate_limit_per_credential,
    }
    for name, limit in limits.items():
        try:
            parse_limit(limit)
        except ValueError as error:
            message = f"TICKETS_RATE_LIMIT_{name.upper()}: must be a limit such as 600/minute, or off"
            raise InvalidSettings(message) from error
    return RateLimits(**limits)


def http_app(running: RunningService, *more: Room) -> FastAPI:
    """Return the HTTP edge over the service; it closes the service when it shuts down. Raises InvalidSettings.

    more: rooms beside those of the service, for benchmarks.
    """
    settings = running.settings
    live = LiveFeed(running.reads, settings.ledger_name, settings.public_url)
    telemetry = Telemetry(running)
    keys = token_keys(settings, telemetry.token_keys_age)
    for message in keys.refused if isinstance(keys, KeySet) else ():
        log.warning("in TICKETS_JWKS_FILE, %s", message)
    probe = probe_of(running, keys)
    notes = AccessRecorder(running.commands.execute, system_clock, telemetry.unrecorded_access)
    running.commands.observe = telemetry.batch
    running.listeners.clock.newest = running.store.newest_time()
    hashing = SlowHashing(
        running.commands.execute, Argon2Hash(), telemetry.slow_hash, prepare_thread=prefer_other_threads
    )
    work = BackgroundWork(running, live, notes, telemetry, probe, hashing)
    running.listeners.clock.observe = work.clock_set_back
    running.listeners.callers = CallerWatch(_thresholds(settings), telemetry.sudden_activity)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        freeze_gc()
        work.start()
        fetching = asyncio.create_task(keys.run()) if isinstance(keys, IssuerKeys) else None
        install_signal_handlers(work.prepare_stop, settings.grace_seconds)
        yield {OBSERVE: telemetry.request}
        await work.stop()
        if fetching:
            await cancelled(fetching)

    context = RouteContext(
        settings=settings,
        store=running.store,
        reads=running.reads,
        live=live,
        signer=running.keys,
        set_keys=running.set_keys,
        sealer=running.sealer,
        clock=system_clock,
        randomness=SystemRandomness(),
        readiness=probe,
        exposition=telemetry.exposition,
    )
    return create_app(
        _service(running, notes, telemetry, keys, hashing),
        [*rooms(context), *more],
        lifespan,
        telemetry.request,
        cors_origins=settings.origins,
        hsts_seconds=settings.hsts_max_age,
    )


def _thresholds(settings: Settings) -> Mapping[Activity, int]:
    return {
        Activity.RESETS: settings.alert_resets_per_hour,
        Activity.REFUSALS: settings.alert_refusals_per_hour,
        Activity.ADDRESS_CHANGES: settings.alert_address_changes_per_hour,
        Activity.DELETIONS: settings.alert_deletions_per_hour,
    }


def _service(
    running: RunningService,
    notes: AccessRecorder,
    telemetry: Telemetry,
    keys: KeySet | IssuerKeys,
    hashing: SlowHashing,
) -> Service:
    settings = running.settings
    return Service(
        execute=hashing.execute,
        load=GroupRead(running.store).load,
        store=running.reads,
        accesses=notes,
        clock=system_clock,
        verifier=TokenVerifier(
            keys,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            typed_only=settings.token_type != "any",  # noqa: S105 - not a secret
            refused=telemetry.token_refused,
        ),
        rate_limits=rate_limits_of(settings),
        large_answers=LargeAnswers(
            ConcurrencyLimit("lists", per_client=settings.lists_per_client, setting="TICKETS_LISTS"),
            ConcurrencyLimit(
                "live streams and long polls",
                per_client=settings.followers_per_client,
                per_caller=settings.followers_per_caller,
                setting="TICKETS_FOLLOWERS",
            ),
        ),
        new_uuid=SystemRandomness().uuid,
        digest_keys=running.digest_keys,
    )
