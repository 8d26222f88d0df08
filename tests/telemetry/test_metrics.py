"""The metrics of a composed service: each event is counted once, under bounded labels."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from msgspec.structs import asdict
from prometheus_client.parser import text_string_to_metric_families

from application.delivery.courier import DeliveryAttempt
from application.delivery.outbox import OutboxStatus
from application.operations.figures import Figures
from application.shared.errors import StoreUnavailable
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Answer
from application.transaction.group_commit import Batch
from domain.policies.policy import SendingMethod
from domain.record.installation import FAILED, INSTALLATION_STREAM, RecordChecked
from domain.subscriptions.subscription import Status, SubscriptionKey
from interface.composition.http_app import http_app
from interface.composition.server import sign_token
from interface.composition.service import start
from interface.http.core.envelope import Exchange
from interface.outbound.keys.token_key import TokenKey
from interface.settings import Settings
from interface.telemetry.metrics import Metrics, remove_ended_processes
from tests.support.evidence import open_store
from tests.support.fakes import NOW, TRACEPARENT, FakeClock
from tests.support.server import BASE, NO_DELIVERY, ROOT, Server, serving, until
from tests.support.service import command
from tests.support.sockets import connect, read_to_the_end
from tests.support.stores import maintenance_at

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
USER = f"{BASE}/client-123/users/user-1"
TICKET = f"{USER}/ticket"


def parsed(text: str) -> Samples:
    """Return every sample; each occurs once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"tickets_{name}", frozenset(labels.items())))


def scraped(client: TestClient | httpx.Client) -> Samples:
    return parsed(client.get("/metrics").raise_for_status().text)


@contextmanager
def served(database_url: str, **settings: Any) -> Iterator[TestClient]:
    running = start(Settings(database_url=database_url, migrate_at_start=True, push=False, **settings))
    with TestClient(http_app(running), raise_server_exceptions=False) as client:
        token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=timedelta(hours=1))
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture
def client(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("interface.composition.telemetry._FIGURES_KEPT_SECONDS", 0)
    with served(database_url, deliver=False) as client:
        yield client


def given_a_ticket(client: TestClient) -> None:
    client.put(USER, json={"email": "una@example.com"}).raise_for_status()
    client.post(TICKET).raise_for_status()


def test_requests_are_counted_by_operation_and_status(client: TestClient) -> None:
    given_a_ticket(client)
    for _ in range(3):
        client.post(f"{TICKET}/reset")
    client.post(f"{TICKET}/reset", headers={"If-Match": '"99"'})
    client.get(f"{TICKET}", headers={"Authorization": "Bearer wrong"})
    samples = scraped(client)

    operations = {
        dict(labels)["operation"]: dict(labels)["method"]
        for name, labels in samples
        if name == "tickets_http_requests_total"
    }
    [reset] = [name for name in operations if "reset" in name.lower() or "regenerate" in name.lower()]
    assert value(samples, "http_requests_total", operation=reset, method="POST", status="200") == 3
    assert value(samples, "http_requests_total", operation=reset, method="POST", status="412") == 1
    assert value(samples, "http_request_seconds_count", operation=reset) == 4
    unauthenticated = [
        count
        for (name, labels), count in samples.items()
        if name == "tickets_http_requests_total" and ("status", "401") in labels
    ]
    assert unauthenticated == [1]


def test_retried_resets_and_refusals_are_counted_once(client: TestClient) -> None:
    given_a_ticket(client)
    for _ in range(3):  # the same one
        assert client.post(f"{TICKET}/reset", headers={"Idempotency-Key": "a"}).status_code == 200
    assert client.post(f"{TICKET}/reset").status_code == 200
    for _ in range(2):
        assert client.post(f"{TICKET}/reset", headers={"If-Match": '"99"'}).status_code == 412
    client.post(f"{TICKET}/verify", json={"ticket": "wrong"})
    samples = scraped(client)

    assert value(samples, "resets_total") == 2
    refusals = {
        dict(labels)["reason"]: count
        for (name, labels), count in samples.items()
        if name == "tickets_refusals_total"
    }
    assert list(refusals.values()) == [2]


def test_a_refusal_that_is_not_recorded_is_counted_and_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    token = sign_token(subject="stranger", clients=["x"], permissions=[], lifetime=timedelta(hours=1))
    ghost = f"{BASE}/ghost-1/users/user-1/ticket"

    client.get(ghost, headers={"Authorization": f"Bearer {token}"})

    assert value(scraped(client), "access_unrecorded_total", reason="unknown-client") == 1
    assert "access not recorded (unknown-client): getTicket by 'stranger' in client 'ghost-1'" in caplog.text


def test_sudden_activities_of_a_caller_are_counted_and_logged(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    thresholds = {
        "alert_resets_per_hour": 2,
        "alert_address_changes_per_hour": 1,
        "alert_refusals_per_hour": 3,
    }
    with served(sqlite_url, deliver=False, **thresholds) as client:
        given_a_ticket(client)
        for _ in range(3):
            client.post(f"{TICKET}/reset").raise_for_status()
            assert client.post(TICKET).status_code == 422
        client.put(USER, json={"email": "eve@example.com"}).raise_for_status()
        until(lambda: "sudden refusals" in caplog.text, "refusals are recorded")
        samples = scraped(client)

    for activity in ("resets", "refusals", "address-changes"):
        assert value(samples, "caller_alerts_total", activity=activity) == 1
    found = [text for text in caplog.messages if text.startswith("sudden")]
    assert "sudden resets: 2 within an hour by caller 'helpdesk' in client 'client-123'" in found
    assert len(found) == 3


def test_a_row_without_a_valid_seal_is_counted_by_table(client: TestClient, database_url: str) -> None:
    given_a_ticket(client)
    with closing(open_store(database_url)) as store:
        store._run("UPDATE tickets SET seal = NULL", [()])

    assert client.get(TICKET).status_code == 500

    assert value(scraped(client), "rows_unsealed_total", table="tickets", outcome="refused") == 1


def test_refused_tokens_are_counted_by_issuer_and_reason_and_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    key = TokenKey(Settings().token_key_file)
    terms: dict[str, Any] = {
        "subject": "a",
        "clients": [],
        "permissions": [],
        "lifetime": timedelta(hours=1),
        "issuer": "tickets",
        "audience": "tickets",
        "now": datetime.now(UTC),
    }
    tokens = {
        ("tickets", "expired"): key.sign(**{**terms, "now": datetime(2020, 1, 1, tzinfo=UTC)}),
        ("tickets", "audience"): key.sign(**{**terms, "audience": "x"}),
        ("tickets", "signature"): f"{key.sign(**terms)[:-8]}AAAAAAAA",
        ("other", "issuer"): key.sign(**{**terms, "issuer": "https://invented.example"}),
        ("none", "malformed"): "x",
        ("none", "missing"): "",
    }
    for token in tokens.values():
        assert client.get(TICKET, headers={"Authorization": f"Bearer {token}"}).status_code == 401

    counted = {
        (dict(labels)["issuer"], dict(labels)["reason"]): count
        for (name, labels), count in scraped(client).items()
        if name == "tickets_tokens_refused_total"
    }
    assert counted == dict.fromkeys(tokens, 1)
    assert "token refused: issuer, issuer 'other'" in caplog.text


def test_commits_and_the_queue_are_measured(client: TestClient) -> None:
    given_a_ticket(client)
    for _ in range(3):
        client.post(f"{TICKET}/reset")
    samples = scraped(client)

    commits = value(samples, "commit_seconds_count") or 0
    assert commits == value(samples, "batch_commands_count") == 5
    assert value(samples, "batch_commands_sum") == 5
    assert 0 < (value(samples, "commit_seconds_sum") or 0) < 60
    assert value(samples, "batches_failed_total") == 0
    assert value(samples, "queue_commands") == 0
    assert value(samples, "store_up") == 1
    assert value(samples, "outbox_tickets", standing="queued") == 4
    assert value(samples, "outbox_tickets", standing="failed") == 0
    assert 0 < (value(samples, "outbox_oldest_seconds") or 0) < 60
    assert 0 <= (value(samples, "checkpoint_age_seconds") or 0) < 60


def test_the_lag_of_a_subscription_is_labelled_with_its_name(client: TestClient) -> None:
    given_a_ticket(client)
    siem = f"{BASE}/client-123/subscriptions/siem"
    client.put(siem, json={"url": "https://siem.example/hook"}).raise_for_status()
    client.post(f"{TICKET}/reset").raise_for_status()
    lag = value(scraped(client), "subscription_lag_events", client="client-123", subscription="siem")

    assert lag
    assert lag >= 1


def test_invented_methods_and_paths_create_no_labels(client: TestClient) -> None:
    client.get("/nothing")
    before = {(name, labels) for name, labels in scraped(client)}
    for number in range(50):
        client.get(f"/made/up/{number}")
        client.request(f"MADE{number}", f"/made/up/{number}")
        client.request(f"MADE{number}", f"{BASE}/client-{number}/users/user-{number}/ticket")
        client.get(f"{BASE}/client-{number}/users/user-{number}/ticket", headers={"Authorization": "x"})
        client.get(f"{BASE}/client-{number}/users/user-{number}/ticket")
        client.get(f"{BASE}/client-{number}/policies/policy-{number}")
    samples = scraped(client)

    grown = {labels for name, labels in set(samples) - before if name == "tickets_http_requests_total"}
    assert len(grown) <= 6
    assert value(samples, "http_requests_total", operation="none", method="any", status="404")
    assert not any(
        "MADE" in part or "made" in part for _, labels in samples for pair in labels for part in pair
    )
    # The same holds for a client and a user.
    assert not any(
        "client-4" in part or "user-4" in part for _, labels in samples for pair in labels for part in pair
    )


def test_delivery_attempts_are_counted_by_method_and_response(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with served(sqlite_url) as client:
        client.put(USER, json={"email": "una@example.com"}).raise_for_status()
        client.post(TICKET, headers={"Prefer": "wait=10"}).raise_for_status()
        samples = scraped(client)

    tries = {
        labels: count for (name, labels), count in samples.items() if name == "tickets_delivery_tries_total"
    }
    assert list(tries.values()) == [1]
    [labels] = tries
    assert dict(labels)["method"] == SendingMethod.EMAIL


def test_a_scrape_of_one_worker_reports_all_workers(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2", **NO_DELIVERY, TICKETS_PUSH="False") as server:
        server.client.put("/client-123/users/user-1", json={"email": "u@example.com"}).raise_for_status()
        server.client.post("/client-123/users/user-1/ticket").raise_for_status()
        reset_over_new_connections(server, 40)
        send_invalid_http(server, 20)
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as monitor:
            for _ in range(10):
                samples = parsed(monitor.get("/metrics", headers={"Connection": "close"}).text)
                # The counts of both from either; the store's figures appear once.
                assert value(samples, "resets_total") == 40
                assert (
                    value(samples, "http_requests_total", operation="none", method="any", status="400") == 20
                )
                assert value(samples, "outbox_tickets", standing="queued") == 41
                assert value(samples, "store_up") == 1
        left = server.stop()

    assert left == 0


def send_invalid_http(server: Server, times: int) -> None:
    for _ in range(times):
        with connect(server) as connection:
            connection.sendall(b"HELO mail\r\n\r\n")
            assert b" 400 " in read_to_the_end(connection)


@contextmanager
def writes_blocked(database: Path) -> Iterator[None]:
    """Block all writes to a database."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_the_queues_of_all_workers_are_reported_by_each(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2", **NO_DELIVERY, TICKETS_PUSH="False") as server:
        server.client.put("/client-123/users/user-1", json={"email": "u@example.com"}).raise_for_status()
        server.client.post("/client-123/users/user-1/ticket").raise_for_status()

        def waiting() -> float | None:
            url = f"http://127.0.0.1:{server.port}/metrics"
            answer = httpx.get(url, headers={"Connection": "close"}, trust_env=False, timeout=30)
            return value(parsed(answer.text), "queue_commands")

        with ThreadPoolExecutor(12) as pool, writes_blocked(tmp_path / "var" / "tickets.db"):
            for _ in range(12):
                pool.submit(reset_over_new_connections, server, 1)
            # Each worker is processing at least one, which is not queued any more.
            until(lambda: (waiting() or 0) >= 8, "the others are queued in any worker", seconds=60)
        until(lambda: [waiting() for _ in range(5)] == [0] * 5, "nothing waits")


def test_counters_of_an_ended_process_stay_and_its_gauges_are_removed(
    tmp_path: Path,
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for number in (ended.pid, os.getpid()):
        for kind in ("gauge_livesum", "gauge_livemax", "counter"):
            (tmp_path / f"{kind}_{number}.db").touch()
    remove_ended_processes(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {
        f"counter_{ended.pid}.db",
        *(f"{kind}_{os.getpid()}.db" for kind in ("gauge_livesum", "gauge_livemax", "counter")),
    }


@contextmanager
def delivering_alone(server: Server, directory: Path, **environment: str) -> Iterator[None]:
    """Deliver in a separate process, which has these variables from its very start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "interface.main", "deliver"],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TICKETS_DATABASE_URL": server.database_url,
            **environment,
        },
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(30)


def test_a_separate_delivery_process_is_counted_by_the_server_beside_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "counts").mkdir()
    together = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "counts")}

    def tries() -> float:
        samples = parsed(httpx.get(f"http://127.0.0.1:{server.port}/metrics", trust_env=False).text)
        return sum(count for (name, _), count in samples.items() if name == "tickets_delivery_tries_total")

    with (
        serving(tmp_path, sqlite_url, **NO_DELIVERY, **together) as server,
        delivering_alone(server, tmp_path, **together),
    ):
        server.client.put("/client-123/users/user-1", json={"email": "u@example.com"}).raise_for_status()
        server.client.post("/client-123/users/user-1/ticket").raise_for_status()
        until(lambda: tries() == 1, "the delivery is counted", seconds=60)


def reset_over_new_connections(server: Server, count: int) -> None:
    for _ in range(count):
        server.client.post(
            "/client-123/users/user-1/ticket/reset", headers={"Connection": "close"}
        ).raise_for_status()


def metrics_of(figures: Any = None, queue: int = 0) -> Metrics:
    clock = FakeClock()
    clock.advance(timedelta(minutes=5))

    def asked() -> Figures:
        if figures is None:
            raise StoreUnavailable("gone")
        return figures  # type: ignore[no-any-return]

    return Metrics(asked, lambda: queue, clock)


def test_the_figures_of_the_store_are_reported() -> None:
    figures = Figures(
        outbox={OutboxStatus.QUEUED: 7, OutboxStatus.FAILED: 2},
        oldest_queued=NOW,
        lags={SubscriptionKey('cli"ent\n', "siem\\"): 3},
        unsigned_since=NOW + timedelta(minutes=4),
        subscriptions={Status.ENABLED: 4, Status.PARKED: 1},
        checked=RecordChecked(
            originator_id=INSTALLATION_STREAM,
            originator_version=1,
            operation="tickets jobs check",
            outcome=FAILED,
            figures={"events": 9, "faults": 2, "lost": 1},
            **asdict(maintenance_at(NOW)),
        ),
    )

    samples = parsed(metrics_of(figures, queue=12).exposition().decode())

    assert value(samples, "outbox_tickets", standing="queued") == 7
    assert value(samples, "outbox_tickets", standing="failed") == 2
    assert value(samples, "outbox_oldest_seconds") == 300
    assert value(samples, "subscription_lag_events", client='cli"ent\n', subscription="siem\\") == 3
    assert value(samples, "checkpoint_age_seconds") == 60
    assert value(samples, "subscriptions", status="enabled") == 4
    assert value(samples, "subscriptions", status="parked") == 1
    assert value(samples, "queue_commands") == 12
    assert (value(samples, "check_age_seconds"), value(samples, "check_findings")) == (300, 3)


def test_ages_are_zero_without_pending_work() -> None:
    samples = parsed(metrics_of(Figures({}, None, {}, None, {})).exposition().decode())

    assert value(samples, "outbox_oldest_seconds") == value(samples, "checkpoint_age_seconds") == 0
    assert value(samples, "check_age_seconds") is value(samples, "check_findings") is None


def test_an_unavailable_store_does_not_affect_other_metrics() -> None:
    metrics = metrics_of(None, queue=3)
    metrics.request(Exchange("op", "GET", 503, 0.1, TRACEPARENT, True, None, None))
    samples = parsed(metrics.exposition().decode())

    assert value(samples, "store_up") == 0
    assert value(samples, "queue_commands") == 3
    assert value(samples, "http_requests_total", operation="op", method="GET", status="503") == 1
    assert not any(name.startswith("tickets_outbox") for name, _ in samples)


def test_a_failed_batch_is_counted_without_its_resets() -> None:
    metrics = metrics_of()
    reset = command(RegenerateTicket)
    done = Answer(outcome="changed", body="{}", correlation_id="", request_digest="")
    refused = Answer(outcome="TicketUnknown", body="no", correlation_id="", request_digest="")
    metrics.batch(Batch([reset, reset], [StoreUnavailable("gone")] * 2, 0.2))
    metrics.batch(Batch([reset, reset, reset], [done, refused, ValueError("odd")], 0.2))
    samples = parsed(metrics.exposition().decode())

    assert value(samples, "batches_failed_total") == 1
    assert value(samples, "resets_total") == 1


def test_a_delivery_attempt_is_counted_by_its_code() -> None:
    metrics = metrics_of()
    for answer in ("250", "451", "451"):
        metrics.delivery_attempt(DeliveryAttempt(SendingMethod.EMAIL, answer, answer == "250", 0.1, None))
    samples = parsed(metrics.exposition().decode())

    assert value(samples, "delivery_tries_total", method="Email", answer="451") == 2


def test_the_age_of_an_unsent_checkpoint_is_reported() -> None:
    metrics = metrics_of()
    ages = []
    for since in (NOW, None):
        metrics.unsent(since)
        ages.append(value(parsed(metrics.exposition().decode()), "checkpoint_unsent_seconds"))

    assert ages == [300, 0]
