"""Connects the metrics, traces and logs to the service."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import TTLCache, cached

from application.delivery.courier import DeliveryAttempt
from application.operations.figures import Figures
from application.operations.readiness import NotReady, Probe
from application.record.access_log import NoteAccess
from application.record.installation import newest_check
from application.shared.errors import Unavailable
from application.transaction.group_commit import Batch
from interface.composition.service import RunningService, key_files
from interface.http.core.envelope import Exchange
from interface.http.core.throttled_log import ThrottledLogger
from interface.outbound.keys.issuer_keys import IssuerKeys
from interface.outbound.keys.key_set import KeySet
from interface.outbound.keys.outbox_keys import OutboxKeyFile
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings
from interface.telemetry.logs import log_request
from interface.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from interface.outbound.sql.postgres_store import PostgresStore
    from interface.telemetry.traces import Traces

_FIGURES_KEPT_SECONDS = 1
# Longer than a commit waits for locks (5 s).
_STUCK_SECONDS = 15


class Telemetry:
    """Forwards observations to metrics, traces and logs. Raises InvalidSettings if traces cannot be created."""

    def __init__(self, running: RunningService) -> None:
        settings = running.settings
        kept = cached(TTLCache(1, _FIGURES_KEPT_SECONDS), lock=Lock())
        metrics = Metrics(
            kept(partial(_figures, running.store)), lambda: running.commands.queued, system_clock
        )
        if sealer := running.store.row_sealer:
            sealer.observe = metrics.row_unsealed
        traces = _traces(settings)
        self._requests: list[Callable[[Exchange], None]] = [metrics.request]
        self._batches: list[Callable[[Batch], None]] = [metrics.batch]
        self._attempts: list[Callable[[DeliveryAttempt], None]] = [metrics.delivery_attempt]
        self._end: Callable[[], None] = lambda: None
        if settings.log_requests:
            self._requests.append(log_request)
        if traces:
            self._requests.append(traces.request)
            self._batches.append(traces.batch)
            self._attempts.append(traces.delivery_attempt)
            self._end = traces.close
        self._unrecorded = metrics.unrecorded
        self._token_refused = metrics.token_refused
        self.token_keys_age = metrics.token_keys_age
        self._throttled_log = ThrottledLogger(logging.getLogger(__name__))
        self.slow_hash = metrics.slow_hash
        self.exposition = metrics.exposition
        self.unsent = metrics.unsent
        self.clock_set_back = metrics.clock_set_back
        self.sudden_activity = metrics.sudden_activity
        self.sample = metrics.sample

    def request(self, exchange: Exchange) -> None:
        """Record a request."""
        for observe in self._requests:
            observe(exchange)

    def batch(self, batch: Batch) -> None:
        """Record a batch of stored commands."""
        for observe in self._batches:
            observe(batch)

    def unrecorded_access(self, access: NoteAccess, reason: str) -> None:
        """Record an access that is not in the record."""
        self._unrecorded(reason)
        client = access.subject.client_ext_id
        what = f"{access.operation} by {access.actor!r} in client {client!r}: {access.outcome}"
        self._throttled_log(f"{reason} {access.actor}", f"access not recorded ({reason}): {what}")

    def token_refused(self, issuer: str, reason: str) -> None:
        """Record a request without an accepted token."""
        self._token_refused(issuer, reason)
        self._throttled_log(f"token {issuer} {reason}", f"token refused: {reason}, issuer {issuer!r}")

    def delivery_attempt(self, attempt: DeliveryAttempt) -> None:
        """Record an attempt to deliver a ticket."""
        for observe in self._attempts:
            observe(attempt)

    def close(self) -> None:
        """Export the remaining traces."""
        self._end()


def _figures(store: "SqliteStore | PostgresStore") -> Figures:
    return replace(store.figures(), checked=newest_check(store))


def probe_of(running: RunningService, token_keys: KeySet | IssuerKeys) -> Probe:
    """Return the readiness probe."""

    def store() -> None:
        try:
            fault = running.store.schema_fault()
        except Unavailable:
            raise NotReady("the store cannot be reached") from None
        if fault:
            raise NotReady(fault)

    def writer() -> None:
        busy = running.commands.busy_seconds()
        if busy > _STUCK_SECONDS:
            raise NotReady(f"the current commit has taken {busy:.0f} seconds")

    checks: dict[str, Callable[[], str | None]] = {
        "store": store,
        "keys": partial(_check_keys, running),
        "writer": writer,
    }
    if isinstance(token_keys, IssuerKeys):
        checks["issuer"] = partial(_check_issuer, token_keys)
    return Probe(checks)


def _check_issuer(keys: IssuerKeys) -> str:
    usable, text = keys.status()
    if not usable:
        raise NotReady(text)
    return text


def _check_keys(running: RunningService) -> None:
    try:
        if isinstance(running.outbox_keys, OutboxKeyFile):
            running.outbox_keys.check()
        missing = not running.keys.public()
    except FileNotFoundError:
        missing = True
    except (OSError, ValueError):
        raise NotReady("a key cannot be read") from None
    if missing or not all(path.exists() for path in key_files(running.settings)):
        raise NotReady("a key file is missing")


def _traces(settings: Settings) -> "Traces | None":
    if not settings.traces:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        from interface.telemetry.traces import Traces  # noqa: PLC0415
    except ImportError as error:
        raise InvalidSettings(
            "TICKETS_TRACES requires OpenTelemetry: install ticket-credential-service[otel]"
        ) from error
    return Traces(OTLPSpanExporter(), service=settings.ledger_name)
