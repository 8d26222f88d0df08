"""Traces by OpenTelemetry, an extra: a request, its commit and its delivery are one trace.

The traceparent of the request is also the correlation id of its events. Spans are created when they end, as its children.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from application.delivery.deliver_tickets import DeliveryAttempt
from application.tickets.minting import SlowWork
from application.transaction.command import Answer
from application.transaction.group_commit import Batch
from interface.http.core.envelope import Exchange

_SERVER_ERROR = 500
_NANOSECONDS = 1_000_000_000


class Traces:
    """Exports spans of requests, commits and deliveries."""

    def __init__(self, exporter: SpanExporter, *, service: str) -> None:
        self._ids = _Ids()
        # Without resource attributes of the environment, which could disclose internals.
        self._provider = TracerProvider(
            resource=Resource({"service.name": service}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("tickets")

    def request(self, exchange: Exchange) -> None:
        """Create the span of a request: the root of its trace, or a child of the caller's span."""
        attributes: dict[str, str | int] = {
            "http.request.method": exchange.method,
            "http.response.status_code": exchange.status,
        }
        failed = exchange.status >= _SERVER_ERROR
        name = exchange.operation or exchange.method
        if exchange.is_root:
            with self._ids.are(*_ids(exchange.traceparent)):
                self._span(name, Context(), exchange.seconds, SpanKind.SERVER, attributes, failed=failed)
        else:
            parent = _parent(exchange.traceparent)
            self._span(name, parent, exchange.seconds, SpanKind.SERVER, attributes, failed=failed)

    def batch(self, batch: Batch) -> None:
        """Create a span per stored command, each in the trace of its request."""
        for command, answer in zip(batch.commands, batch.answers, strict=True):
            # A command that needs slow work first is submitted again afterwards.
            if command.correlation_id and not isinstance(answer, SlowWork):
                attributes: dict[str, str | int] = {
                    "tickets.command": type(command).__name__,
                    "tickets.batch": len(batch.commands),
                }
                if isinstance(answer, Answer) and answer.refusal:
                    attributes["tickets.refusal"] = answer.refusal
                failed = not isinstance(answer, Answer)
                parent = _parent(command.correlation_id)
                self._span("commit", parent, batch.seconds, SpanKind.INTERNAL, attributes, failed=failed)

    def attempt(self, attempt: DeliveryAttempt) -> None:
        """Create the span of a delivery attempt, in the trace of the request that created the ticket."""
        if attempt.correlation_id:
            attributes = {"tickets.method": str(attempt.method), "tickets.answer": attempt.answer}
            parent = _parent(attempt.correlation_id)
            self._span(
                "deliver", parent, attempt.seconds, SpanKind.CLIENT, attributes, failed=not attempt.delivered
            )

    def close(self) -> None:
        """Export the remaining spans."""
        self._provider.shutdown()

    def _span(
        self,
        name: str,
        parent: Context,
        seconds: float,
        kind: SpanKind,
        attributes: Mapping[str, str | int],
        *,
        failed: bool,
    ) -> None:
        end = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            start_time=end - round(seconds * _NANOSECONDS),
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


class _Ids(RandomIdGenerator):
    """Random ids, except for the root span, whose ids the response already contains as traceparent."""

    def __init__(self) -> None:
        self._given: tuple[int, int] | None = None

    @contextmanager
    def are(self, trace_id: int, span_id: int) -> Iterator[None]:
        """Use these ids for the span created in the context."""
        self._given = trace_id, span_id
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        """Return the trace id."""
        return self._given[0] if self._given else secrets.randbits(128)

    def generate_span_id(self) -> int:
        """Return the span id."""
        return self._given[1] if self._given else secrets.randbits(64) or 1


def _ids(traceparent: str) -> tuple[int, int]:
    _, trace_id, span_id, _ = traceparent.split("-", 3)
    return int(trace_id, 16), int(span_id, 16)


def _parent(traceparent: str) -> Context:
    trace_id, span_id = _ids(traceparent)
    flags = TraceFlags(int(traceparent[-2:], 16))
    return trace.set_span_in_context(
        NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)), Context()
    )
