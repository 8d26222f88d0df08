"""A request, its commit and its delivery are one trace with the ids of the traceparent, without secrets."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from application.delivery.deliver_tickets import DeliveryAttempt
from application.shared.errors import StoreUnavailable
from application.tickets.minting import SlowWork
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Answer
from application.transaction.group_commit import Batch
from domain.policies.policy import SendingMethod
from interface.composition import telemetry
from interface.composition.server import http_app, sign_token
from interface.composition.service import start
from interface.http.core.envelope import Exchange
from interface.settings import InvalidSettings, Settings
from interface.telemetry.traces import Traces
from tests.support.evidence import ticket_in
from tests.support.fakes import TRACEPARENT
from tests.support.server import BASE
from tests.support.service import command

Spans = Callable[[], Sequence[ReadableSpan]]
USER = f"{BASE}/client-123/users/user-4711"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
WAIT = {"Prefer": "wait=10"}


@contextmanager
def traced(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TestClient, Spans]]:
    """Yield a caller of the composed service, and its spans after it has stopped."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(telemetry, "_traces", lambda _: Traces(exporter, service="tickets"))
    running = start(Settings(database_url=database_url, migrate_at_start=True, push=False))
    with TestClient(http_app(running), raise_server_exceptions=False) as client:
        token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=timedelta(hours=1))
        client.headers["Authorization"] = f"Bearer {token}"
        yield client, exporter.get_finished_spans


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


def test_a_request_its_commit_and_its_delivery_are_one_trace(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(database_url, monkeypatch) as (client, spans):
        client.put(USER, json={"email": "una@example.com"}).raise_for_status()
        client.post(f"{USER}/ticket", headers=WAIT).raise_for_status()
        answer = client.post(f"{USER}/ticket/reset", headers=WAIT).raise_for_status()
    _, trace_id, span_id, flags = answer.headers["traceparent"].split("-")

    of_reset = [span for span in spans() if trace_of(span) == trace_id]
    [request] = [span for span in of_reset if span.kind is SpanKind.SERVER]
    [commit] = [
        span
        for span in of_reset
        if span.attributes and span.attributes.get("tickets.command") == "RegenerateTicket"
    ]
    [delivery] = [span for span in of_reset if span.name == "deliver"]
    assert flags == "01"
    # The request is the root, and the others are its descendants.
    assert (id_of(request), parent_of(request)) == (span_id, None)
    assert parent_of(commit) == parent_of(delivery) == span_id
    assert commit.name == "commit"
    assert request.attributes == {"http.request.method": "POST", "http.response.status_code": 200}
    assert delivery.attributes
    assert delivery.attributes["tickets.method"] == "Email"
    assert {span.status.status_code for span in of_reset} == {StatusCode.UNSET}
    for span in of_reset:
        assert span.start_time
        assert span.end_time
        assert 0 <= span.end_time - span.start_time < 60e9


def test_each_request_is_a_separate_trace_and_ids_are_unique(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(sqlite_url, monkeypatch) as (client, spans):
        answers = [client.get(USER).headers["traceparent"] for _ in range(5)]

    roots = [span for span in spans() if span.kind is SpanKind.SERVER]
    assert [f"00-{trace_of(span)}-{id_of(span)}-01" for span in roots] == answers
    assert len({id_of(span) for span in spans()}) == len(spans())


def test_a_caller_with_a_trace_is_the_parent(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(sqlite_url, monkeypatch) as (client, spans):
        client.put(USER, json={"email": "una@example.com"}, headers={"traceparent": SAMPLED})

    found = spans()
    assert {trace_of(span) for span in found} == {TRACE}
    assert {parent_of(span) for span in found} == {PARENT}
    assert {id_of(span) for span in found}.isdisjoint({PARENT})
    assert {span.kind for span in found} == {SpanKind.SERVER, SpanKind.INTERNAL}


def test_a_request_that_the_caller_does_not_sample_is_not_traced(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(sqlite_url, monkeypatch) as (client, spans):
        client.put(USER, json={"email": "una@example.com"}, headers={"traceparent": NOT_SAMPLED})
        client.post(f"{USER}/ticket", headers={**WAIT, "traceparent": NOT_SAMPLED}).raise_for_status()

    assert spans() == ()


def test_nothing_in_a_trace_is_secret_or_names_a_user(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(sqlite_url, monkeypatch) as (client, spans):
        authorization = client.headers["Authorization"]
        client.put(USER, json={"email": "una@example.com", "name": "Zenobia"})
        client.post(f"{USER}/ticket?ticket=in-the-query", headers=WAIT)
        [mail] = (tmp_path / "var" / "mail").glob("*.eml")
        clear = ticket_in(mail).reveal()
        client.post(f"{USER}/ticket/verify", json={"ticket": clear})
        client.post(f"{USER}/ticket/verify", json={"ticket": "wrong"})
        client.get(f"/made/up/{clear}")

    shown = json.dumps([span.to_json() for span in spans()])
    assert len(spans()) > 5
    for secret in (
        clear,
        authorization.split()[1],
        "user-4711",
        "una@example.com",
        "Zenobia",
        "helpdesk",
        "in-the-query",
    ):
        found = secret in shown
        assert not found


def made() -> tuple[Traces, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return Traces(exporter, service="tickets"), exporter


def test_a_failure_is_an_error_and_a_refusal_is_not() -> None:
    traces, exporter = made()
    reset: Any = command(RegenerateTicket)
    refused = Answer(outcome="TicketUnknown", body="no", correlation_id="", request_digest="")
    slow = SlowWork(lambda _: reset)
    traces.batch(Batch([reset, reset, reset], [StoreUnavailable("gone"), refused, slow], 0.5))
    traces.request(Exchange("op", "GET", 503, 0.1, TRACEPARENT, False, None, None))
    traces.request(Exchange("op", "GET", 409, 0.1, TRACEPARENT, False, None, None))
    for delivered in (True, False):
        traces.attempt(DeliveryAttempt(SendingMethod.EMAIL, "250", delivered, 0.1, TRACEPARENT))
    traces.close()

    statuses = [(span.name, span.status.status_code) for span in exporter.get_finished_spans()]
    assert statuses == [
        ("commit", StatusCode.ERROR),
        ("commit", StatusCode.UNSET),
        ("op", StatusCode.ERROR),
        ("op", StatusCode.UNSET),
        ("deliver", StatusCode.UNSET),
        ("deliver", StatusCode.ERROR),
    ]
    refusal = exporter.get_finished_spans()[1].attributes
    assert refusal
    assert refusal["tickets.refusal"] == "TicketUnknown"


def test_a_span_ends_now_and_has_the_measured_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "password=s3cret")
    traces, exporter = made()
    traces.request(Exchange(None, "GET", 404, 1.5, TRACEPARENT, True, None, None))
    traces.close()

    [span] = exporter.get_finished_spans()
    assert span.start_time
    assert span.end_time
    assert span.end_time - span.start_time == 1_500_000_000
    assert span.name == "GET"
    # Details of the machine from the environment must not be exported.
    assert span.resource.attributes == {"service.name": "tickets"}


def test_work_without_a_request_creates_no_span() -> None:
    traces, exporter = made()
    traces.batch(Batch([command(RegenerateTicket, correlation_id="")], [StoreUnavailable("gone")], 0.5))
    traces.attempt(DeliveryAttempt(SendingMethod.EMAIL, "250", True, 0.1, None))
    traces.close()

    assert exporter.get_finished_spans() == ()


def test_without_the_extra_the_start_names_the_package_to_install(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("opentelemetry", "interface.telemetry.traces"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    running = start(Settings(database_url=sqlite_url, traces=True))
    try:
        with pytest.raises(InvalidSettings, match=r"install ticket-credential-service\[otel\]"):
            http_app(running)
    finally:
        running.close()
