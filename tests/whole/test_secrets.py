"""No clear ticket anywhere but in its mail and, sealed, in the outbox: searched for, not argued."""

import email
import email.policy
import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from interface.settings import Settings
from interface.wiring.server import http_app, sign_token
from interface.wiring.service import start
from tests.support.server import until
from tests.support.web import BASE

_HOUR = timedelta(hours=1)


def test_a_clear_ticket_is_nowhere_but_in_its_mail(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("DEBUG")
    running = start(Settings(database_url=database_url))
    seen: list[bytes] = []

    with TestClient(http_app(running), raise_server_exceptions=False) as client:
        token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=_HOUR)
        client.headers["Authorization"] = f"Bearer {token}"
        client.event_hooks["response"] = [
            lambda answer: seen.append(answer.read() + str(answer.headers).encode())
        ]
        for number in range(3):
            user = f"{BASE}/client-123/users/user-{number}"
            client.put(user, json={"email": f"user-{number}@example.com"})
            client.post(f"{user}/ticket", json={"modificationComment": "first"})
            for attempt in range(4):
                client.post(f"{user}/ticket/reset", headers={"Idempotency-Key": f"key-{number}-{attempt}"})
                client.post(f"{user}/ticket/reset", headers={"Idempotency-Key": f"key-{number}-{attempt}"})
                client.post(f"{user}/ticket/reset", headers={"If-Match": '"99"'})
                client.post(f"{user}/ticket/reset", content=b"{broken")
            client.get(f"{user}/ticket")
        client.get("/openapi.json")
        mails = tmp_path / "var" / "mail"
        until(lambda: len(list(mails.glob("*.eml"))) == 3 * 5, "everything is delivered")
        for ticket in _tickets_in(mails):
            client.post(
                f"{user}/ticket/verify", json={"ticket": ticket.decode()}, headers={"Idempotency-Key": "v"}
            )
            client.post(f"{user}/ticket/verify", json={"ticket": ticket.decode()})

    tickets = _tickets_in(mails)
    assert len(tickets) == 3 * 5
    haystack = b"\n".join([*seen, caplog.text.encode(), _stored(database_url, tmp_path)])
    assert len(haystack) > 10_000
    assert [ticket for ticket in tickets if ticket in haystack] == []


def test_while_it_waits_a_ticket_is_stored_sealed_only(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("interface.outbound.mail_spool.MailSpool.deliver", _fail)
    with TestClient(http_app(start(Settings(database_url=database_url)))) as client:
        token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=_HOUR)
        client.headers["Authorization"] = f"Bearer {token}"
        user = f"{BASE}/client-123/users/user-1"
        client.put(user, json={"email": "user-1@example.com"})
        client.post(f"{user}/ticket")
    stored = _stored(database_url, tmp_path)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)

    start(Settings(database_url=database_url)).close()

    [ticket] = _tickets_in(tmp_path / "var" / "mail")
    assert ticket not in stored


def _fail(*_: object) -> None:
    raise OSError("the disk is full")


def _tickets_in(directory: Path) -> list[bytes]:
    mails = [
        email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        for file in directory.iterdir()
    ]
    return [re.findall(r"^ {4}(\S{24})\r?$", mail.get_content(), re.MULTILINE)[0].encode() for mail in mails]


def _stored(database_url: str, directory: Path) -> bytes:
    if database_url.startswith("sqlite"):
        return b"".join(file.read_bytes() for file in (directory / "var").glob("tickets.db*"))
    with psycopg.connect(database_url) as connection:
        tables = ["ticket_events", "tickets", "recipients", "outbox", "answers"]
        rows = [row for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    return b"".join(
        value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
    )
