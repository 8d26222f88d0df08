"""Metrics for Prometheus. Labels name operations, reasons and subscriptions, never a user."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from application.delivery.courier import DeliveryAttempt
from application.operations.caller_watch import Activity
from application.operations.figures import Figures
from application.shared.errors import Unavailable
from application.shared.ports import Clock
from application.tickets.regenerate_ticket import RegenerateTicket
from application.tickets.slow_hashing import SlowHashObserver
from application.transaction.command import Answer
from application.transaction.group_commit import Batch
from application.transaction.outcomes import Outcome
from domain.record.installation import RecordChecked
from interface.http.core.envelope import Exchange

# The directory of the counts of several server processes, so that a scrape of one reports all.
MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The counts of this process and the gauges of the store.

    figures: of the store. queue: the number of queued commands of this process, which `sample` records.
    """

    def __init__(self, figures: Callable[[], Figures], queue: Callable[[], int], clock: Clock) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "tickets_http_requests", "Requests.", ["operation", "method", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "tickets_http_request_seconds",
            "From a request to the end of its response.",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        # The two metrics of each kind of request, since finding them by their labels costs more than counting.
        self._kept: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._resets = Counter("tickets_resets", "Tickets that were reset.", registry=registry)
        self._refusals = Counter("tickets_refusals", "Refused commands.", ["reason"], registry=registry)
        self._unrecorded = Counter(
            "tickets_access_unrecorded",
            "Refused requests and reads that are in no access log: the client does not exist, or its caller floods.",
            ["reason"],
            registry=registry,
        )
        self._tokens = Counter(
            "tickets_tokens_refused",
            "Requests answered with 401; the issuer is that of the settings, other or none.",
            ["issuer", "reason"],
            registry=registry,
        )
        self._batch, self._commit, self._failed = _of_batches(registry)
        self.slow_hash = _SlowHashMetrics(registry)
        self._set_back = Counter(
            "tickets_clock_set_back", "How often the clock was set back by more than 5 s.", registry=registry
        )
        self._sudden = Counter(
            "tickets_caller_alerts",
            "Callers with sudden resets, refusals, changes of addresses or deletions, each once per hour.",
            ["activity"],
            registry=registry,
        )
        for activity in Activity:
            self._sudden.labels(activity)
        self._unsealed = Counter(
            "tickets_rows_unsealed",
            "Loaded rows without a valid seal: accepted, since equal to their events, or refused.",
            ["table", "outcome"],
            registry=registry,
        )
        self._tries = Counter(
            "tickets_delivery_tries",
            "Delivery attempts, by method and response.",
            ["method", "answer"],
            registry=registry,
        )
        self._unsent = Gauge(
            "tickets_checkpoint_unsent_seconds",
            "Age of the oldest checkpoint that a witness lacks, in the process that sends checkpoints.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._token_keys = Gauge(
            "tickets_token_keys_age_seconds",
            "Age of the token issuer's key set after the newest attempt to fetch it; 0: fetched, or no TICKETS_JWKS_URL.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._waiting = Gauge(
            "tickets_queue_commands",
            "Queued commands.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._queue = queue
        self._clock = clock
        self._store = _StoreCollector(figures, clock)

    def request(self, exchange: Exchange) -> None:
        """Count a request."""
        # Callers could invent any number of methods and paths, each of which would be kept.
        operation, method = (exchange.operation, exchange.method) if exchange.operation else ("none", "any")
        key = operation, method, exchange.status
        kept = self._kept.get(key)
        if kept is None:
            count = self._requests.labels(operation, method, str(exchange.status))
            kept = self._kept[key] = count, self._request_seconds.labels(operation)
        kept[0].inc()
        kept[1].observe(exchange.seconds)

    def unrecorded(self, reason: str) -> None:
        """Count an access that is not recorded."""
        self._unrecorded.labels(reason).inc()

    def token_refused(self, issuer: str, reason: str) -> None:
        """Count a request without an accepted token."""
        self._tokens.labels(issuer, reason).inc()

    def batch(self, batch: Batch) -> None:
        """Count a batch of commands."""
        self._batch.observe(len(batch.commands))
        self._commit.observe(batch.seconds)
        failed = False
        for command, answer in zip(batch.commands, batch.answers, strict=True):
            if isinstance(answer, Answer) and answer.refusal:
                self._refusals.labels(answer.refusal).inc()
            elif isinstance(answer, Answer) and isinstance(command, RegenerateTicket):
                # An item of a bulk job that was processed before changes nothing.
                self._resets.inc(answer.outcome == Outcome.CHANGED)
            failed |= isinstance(answer, Unavailable)
        if failed:
            self._failed.inc()

    def clock_set_back(self) -> None:
        """Count a clock that was set back."""
        self._set_back.inc()

    def sudden_activity(self, activity: Activity) -> None:
        """Count a caller with a sudden activity."""
        self._sudden.labels(activity).inc()

    def row_unsealed(self, table: str, outcome: str) -> None:
        """Count a loaded row without a valid seal."""
        self._unsealed.labels(table, outcome).inc()

    def delivery_attempt(self, attempt: DeliveryAttempt) -> None:
        """Count a delivery attempt."""
        self._tries.labels(attempt.method, attempt.answer).inc()

    def unsent(self, since: datetime | None) -> None:
        """Record the time of the oldest checkpoint that this process has to send, or None."""
        self._unsent.set((self._clock() - since).total_seconds() if since else 0)

    def token_keys_age(self, seconds: float) -> None:
        """Record the age of the token issuer's key set."""
        self._token_keys.set(seconds)

    def sample(self) -> None:
        """Record the queue's length, periodically, so that other processes can report it."""
        self._waiting.set(self._queue())

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        self.sample()
        counted = self._registry
        if directory := os.environ.get(MULTIPROCESS_DIR):
            remove_ended_processes(Path(directory))
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        stored = CollectorRegistry()
        stored.register(self._store)
        return generate_latest(counted) + generate_latest(stored)


def remove_ended_processes(directory: Path) -> None:
    """Remove the gauges of processes that have ended; their counters stay."""
    for path in directory.glob("gauge_live*.db"):
        found = re.fullmatch(r"gauge_live\w*?_(\d+)\.db", path.name)
        if found and not _is_alive(int(found[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _of_batches(registry: CollectorRegistry) -> tuple[Histogram, Histogram, Counter]:
    """Return the size and the duration of a batch, and the number of failed ones."""
    return (
        Histogram(
            "tickets_batch_commands", "Commands per transaction.", buckets=_COMMANDS, registry=registry
        ),
        Histogram(
            "tickets_commit_seconds", "Deciding and storing a batch.", buckets=_SECONDS, registry=registry
        ),
        Counter("tickets_batches_failed", "Batches that could not be stored.", registry=registry),
    )


class _SlowHashMetrics(SlowHashObserver):
    """Measures the requests that need a slow hash."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waits = Histogram(
            "tickets_slow_hash_wait_seconds",
            "From a request for a slow hash to its turn.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "tickets_slow_hash_refused",
            "Requests that were refused, since too many wait for a slow hash.",
            registry=registry,
        )

    def waited(self, seconds: float) -> None:
        self._waits.observe(seconds)

    def refused(self) -> None:
        self._refused.inc()


class _StoreCollector(Collector):
    """The gauges of the store, read at each scrape; only `tickets_store_up` if the store is unavailable."""

    def __init__(self, figures: Callable[[], Figures], clock: Clock) -> None:
        self._figures = figures
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        try:
            figures = self._figures()
        except Unavailable:
            yield GaugeMetricFamily("tickets_store_up", "Whether the store is available.", 0)
            return
        yield GaugeMetricFamily("tickets_store_up", "Whether the store is available.", 1)
        outbox = GaugeMetricFamily(
            "tickets_outbox_tickets", "Tickets whose delivery is queued or failed.", labels=["standing"]
        )
        for status, count in figures.outbox.items():
            outbox.add_metric([status], count)
        yield outbox
        yield self._age(
            "tickets_outbox_oldest_seconds", "Age of the oldest queued ticket.", figures.oldest_queued
        )
        lags = GaugeMetricFamily(
            "tickets_subscription_lag_events",
            "Lag of enabled and parked subscriptions in events.",
            labels=["client", "subscription"],
        )
        for key, lag in figures.lags.items():
            lags.add_metric([key.client_ext_id, key.name], lag)
        yield lags
        subscriptions = GaugeMetricFamily(
            "tickets_subscriptions", "Subscriptions; parked: failed for too long.", labels=["status"]
        )
        for status, count in figures.subscriptions.items():
            subscriptions.add_metric([status], count)
        yield subscriptions
        yield self._age(
            "tickets_checkpoint_age_seconds",
            "Age of the oldest event that no checkpoint covers.",
            figures.unsigned_since,
        )
        yield from self._of_check(figures.checked)

    def _of_check(self, checked: RecordChecked | None) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges of the newest check; without a value if there was no check."""
        age = GaugeMetricFamily(
            "tickets_check_age_seconds", "Age of the newest check of the record.", labels=[]
        )
        findings = GaugeMetricFamily(
            "tickets_check_findings", "Findings of the newest check of the record.", labels=[]
        )
        if checked:
            counts = [checked.figures.get(name, 0) for name in ("faults", "lost")]
            age.add_metric([], (self._clock() - checked.timestamp).total_seconds())
            findings.add_metric([], sum(count for count in counts if isinstance(count, int)))
        yield from (age, findings)

    def _age(self, name: str, what: str, since: datetime | None) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, what, (self._clock() - since).total_seconds() if since else 0)
