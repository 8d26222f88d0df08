"""The endpoints for orchestrators and monitors, of the composed service: no authentication and no secret."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from application.shared.errors import StoreUnavailable
from domain.record.installation import INSTALLATION, INSTALLATION_STREAM, ClockSetBack
from domain.shared.subject import Subject
from interface.composition import telemetry
from interface.composition.http_app import http_app
from interface.composition.server import sign_token
from interface.composition.service import RunningService, start
from interface.http.health.routes import HealthPart
from interface.outbound.system import system_clock
from interface.settings import Settings
from tests.support.commits import around_commits
from tests.support.ledgers import opened
from tests.support.postgres import database_unreachable
from tests.support.schemas import migrate_to_next_release, newest_schema, set_schema
from tests.support.server import given_outbox_key, until
from tests.support.service import service_over
from tests.support.web import BASE

TOKEN = "s3cret-of-the-monitor"
USERS = f"{BASE}/client-123/users"
TICKET = f"{USERS}/user-1/ticket"
ALL = ("/livez", "/readyz", "/metrics")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Each request checks again, so that no test waits for a second.
    monkeypatch.setattr("application.operations.readiness._CACHE_SECONDS", -1)


@contextmanager
def served(database_url: str, **settings: Any) -> Iterator[tuple[TestClient, RunningService]]:
    running = start(
        Settings(database_url=database_url, migrate_at_start=True, deliver=False, push=False, **settings)
    )
    with TestClient(http_app(running), raise_server_exceptions=False) as client:
        yield client, running


def caller() -> dict[str, str]:
    token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=timedelta(hours=1))
    return {"Authorization": f"Bearer {token}"}


def sent(authorization: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", authorization.encode("latin-1"))]


def assert_not_ready(client: TestClient, check: str, reported: str) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["status"] == "not ready"
    assert found["checks"][check] == reported
    # The response discloses no location.
    for shown in ("/tmp", "var/", "postgres", "sqlite", "host", "127.0.0.1", ".key", ".pem", "Error"):
        assert shown not in answer.text
    assert client.get("/livez").status_code == 200


def test_a_running_process_is_alive_and_ready(database_url: str) -> None:
    with served(database_url) as (client, _):
        live, ready = client.get("/livez"), client.get("/readyz")

    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "checks": {"store": "ok", "keys": "ok", "writer": "ok"}},
    )
    assert "retry-after" not in ready.headers
    assert live.headers["cache-control"] == ready.headers["cache-control"] == "no-store"


def test_a_process_without_its_store_is_alive_but_not_ready_and_recovers(
    postgres_server: str, postgres_url: str
) -> None:
    with served(postgres_url) as (client, _):
        assert client.get("/readyz").status_code == 200
        with database_unreachable(postgres_server, postgres_url):
            assert_not_ready(client, "store", "the store cannot be reached")
            metrics = client.get("/metrics")
        assert client.get("/readyz").status_code == 200

    assert metrics.status_code == 200
    assert "tickets_store_up 0.0" in metrics.text


def test_over_an_unusable_schema_it_is_unready_and_responds_with_503(database_url: str) -> None:
    with served(database_url) as (client, running):
        client.headers.update(caller())
        newest = newest_schema(database_url)
        fault = (
            f"the store has schema version {newest + 2}, which needs a program with schema {newest + 1} or later;"
            f" this one has {newest}: upgrade the program"
        )
        set_schema(database_url, newest + 2, newest + 1)
        until(lambda: client.get(TICKET).status_code == 503, "the process sees the schema")
        answers = [client.get(TICKET), client.post(f"{TICKET}/reset"), client.get(USERS)]

        assert [(answer.status_code, "Retry-After" in answer.headers) for answer in answers] == [
            (503, True)
        ] * 3
        assert_not_ready(client, "store", fault)

        set_schema(database_url, newest, newest)
        until(lambda: client.get(TICKET).status_code == 404, "the process sees the schema")
        assert running.store.schema_fault() == ""


def test_over_the_schema_of_the_next_release_it_is_ready_and_serves(database_url: str) -> None:
    with served(database_url) as (client, _):
        client.headers.update(caller())
        migrate_to_next_release(database_url)

        assert client.put(f"{USERS}/user-1", json={"email": "u@example.com"}).status_code == 201
        assert client.post(f"{USERS}/user-1/ticket").status_code == 201
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("name", ["outbox.key", "token.pem"])
def test_without_a_key_file_it_is_not_ready(sqlite_url: str, name: str) -> None:
    with served(sqlite_url) as (client, _):
        path = Path("var/keys") / name
        content = path.read_bytes()
        path.unlink()
        answer = client.get("/readyz")
        assert_not_ready(client, "keys", answer.json()["checks"]["keys"])
        assert answer.json()["checks"]["keys"] in ("a key file is missing", "a key cannot be read")
        path.write_bytes(content)
        assert client.get("/readyz").status_code == 200


def test_a_ledger_without_its_key_is_not_ready(sqlite_url: str) -> None:
    with served(sqlite_url) as (client, _):
        for path in Path("var/keys/ledger").glob("*.pem"):
            path.write_bytes(b"broken")

        assert_not_ready(client, "keys", "a key cannot be read")


def test_a_writer_that_is_stuck_is_not_ready(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def stuck(_: object) -> None:
        gate.wait(30)
        raise StoreUnavailable("enough")

    with served(sqlite_url) as (client, running):
        monkeypatch.setattr(telemetry, "_STUCK_SECONDS", 0.05)
        around_commits(running.store, before=stuck)
        user = f"{BASE}/client-123/users/user-1"
        body, headers = {"email": "u@example.com"}, caller()
        writing = threading.Thread(target=client.put, args=(user,), kwargs={"json": body, "headers": headers})
        writing.start()
        try:
            until(lambda: client.get("/readyz").status_code == 503, "it is noticed")
            assert_not_ready(client, "writer", "the current commit has taken 0 seconds")
        finally:
            gate.set()
            writing.join()
        assert client.get("/readyz").status_code == 200


def test_the_health_checks_neither_authenticate_nor_record_the_caller(sqlite_url: str) -> None:
    with served(sqlite_url) as (client, running):
        for path in ALL:
            for authorization in (None, "Bearer rubbish", "Basic dTpw", "Bearer " + "x" * 5000, "\xff"):
                headers = sent(authorization) if authorization else None
                answer = client.get(path, headers=headers)
                assert (path, answer.status_code) == (path, 200)
                assert "rubbish" not in answer.text
        assert running.store.sizes() == []


def test_the_metrics_require_their_token(sqlite_url: str) -> None:
    with served(sqlite_url, metrics_token=SecretStr(TOKEN)) as (client, running):
        wrong = [
            "",
            TOKEN,
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            "Bearer \xff",
            "Bearer",
        ]
        refused = [client.get("/metrics")]
        refused += [client.get("/metrics", headers=sent(text)) for text in wrong]
        # A caller's token is for tickets, not for metrics.
        refused.append(client.get("/metrics", headers=caller()))
        given = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        others = [client.get(path).status_code for path in ("/livez", "/readyz")]
        # The monitor's token is not for tickets.
        tickets = client.get(f"{BASE}/client-123/tickets", headers={"Authorization": f"Bearer {TOKEN}"})
        sizes = running.store.sizes()

    assert {answer.status_code for answer in refused} == {401}
    assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}
    assert all("tickets_http" not in answer.text for answer in refused)
    shown = sum(TOKEN in answer.text + str(answer.headers) for answer in [*refused, given, tickets])
    assert shown == 0
    assert given.status_code == 200
    assert given.headers["content-type"].startswith("text/plain; version=1.0.0")
    assert "tickets_http_requests_total" in given.text
    assert others == [200, 200]
    assert tickets.status_code == 401
    assert sizes == []


def test_the_metrics_have_no_secret_no_caller_and_no_user(sqlite_url: str) -> None:
    with served(sqlite_url) as (client, _):
        headers = caller()
        user = f"{BASE}/client-123/users/user-4711"
        client.put(user, json={"email": "una@example.com"}, headers=headers).raise_for_status()
        client.post(f"{user}/ticket", headers=headers).raise_for_status()
        client.post(f"{user}/ticket/reset", headers=headers).raise_for_status()
        client.get(f"{user}/ticket", headers={"Authorization": "Bearer rubbish"})
        text = client.get("/metrics").text

    for shown in ("user-4711", "una@example.com", "helpdesk", "rubbish", headers["Authorization"]):
        assert shown not in text


def test_the_health_checks_are_not_in_the_document(sqlite_url: str) -> None:
    with served(sqlite_url) as (client, _):
        document = client.get("/openapi.json").json()

    assert not set(ALL) & set(document["paths"])


def test_a_stopping_process_is_not_ready(sqlite_url: str) -> None:
    with served(sqlite_url) as (client, _):
        client.app.state.parts[HealthPart].readiness.stop()  # type: ignore[attr-defined]  # as a signal does

        assert_not_ready(client, "process", "is stopping")


def test_a_clock_that_was_set_back_is_counted_and_recorded(database_url: str, tmp_path: Path) -> None:
    given_outbox_key(tmp_path)
    with opened(database_url) as store, service_over(store) as service:
        service.clock.now = system_clock() + timedelta(hours=1)
        service.register(subject=Subject("client-123", "user-1"))
        service.create(subject=Subject("client-123", "user-1"))

    with served(database_url) as (client, running):
        client.post(f"{TICKET}/reset", headers=caller()).raise_for_status()
        until(lambda: running.store.size(INSTALLATION.client_ext_id) == 1, "it is recorded")
        [event] = running.store.events_of(INSTALLATION_STREAM)
        metrics = client.get("/metrics").text

    assert isinstance(event, ClockSetBack)
    assert 3500 < event.seconds <= 3600
    assert event.actor == "tickets serve"
    assert "tickets_clock_set_back_total 1.0" in metrics
