"""Traces by OpenTelemetry, an extra: a request, its commit and its delivery are one trace.

Whatever belongs to a request carries its traceparent, which is also the correlation id of the events. The spans are made
when they are over, as children of it.
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
    """Makes spans of what is over, and hands them to an exporter."""

    def __init__(self, exporter: SpanExporter, *, service: str) -> None:
        self._ids = _Ids()
        # Our own resource alone: that of the environment could name what nobody wants told.
        self._provider = TracerProvider(
            resource=Resource({"service.name": service}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("tickets")

    def request(self, exchange: Exchange) -> None:
        """Make the span of a request: the first of its trace, or a child of its caller's."""
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
        """Make a span per command that was stored, each in the trace of its request."""
        for command, answer in zip(batch.commands, batch.answers, strict=True):
            # What needs slow work first comes again with it.
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

    def tried(self, tried: DeliveryAttempt) -> None:
        """Make the span of a try to hand a ticket over, in the trace of the request that made it."""
        if tried.correlation_id:
            attributes = {"tickets.method": str(tried.method), "tickets.answer": tried.answer}
            parent = _parent(tried.correlation_id)
            self._span(
                "deliver", parent, tried.seconds, SpanKind.CLIENT, attributes, failed=not tried.delivered
            )

    def close(self) -> None:
        """Export what is left."""
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
    """Random ids, but for the root span, whose ids the traceparent of the answer already tells."""

    def __init__(self) -> None:
        self._given: tuple[int, int] | None = None

    @contextmanager
    def are(self, trace_id: int, span_id: int) -> Iterator[None]:
        """Give these ids within."""
        self._given = trace_id, span_id
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        """Return the id of a trace."""
        return self._given[0] if self._given else secrets.randbits(128)

    def generate_span_id(self) -> int:
        """Return the id of a span."""
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
