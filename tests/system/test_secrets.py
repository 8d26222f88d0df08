"""A clear ticket is only in its mail and, sealed, in the outbox; every other place is searched."""

import base64
import email
import email.policy
import itertools
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient

from application.delivery.courier import NotDelivered
from interface.composition.http_app import http_app
from interface.composition.server import sign_token
from interface.composition.service import start
from interface.outbound.mail.couriers import MailSpool
from interface.settings import Settings
from tests.support.certificates import self_signed, server_context
from tests.support.command import command
from tests.support.deliveries import QUICK, all_over
from tests.support.files import files_in
from tests.support.mail_server import DROPS, HANGS, OK, mail_server
from tests.support.server import serving, until
from tests.support.web import BASE

AnyClient = httpx.Client | TestClient

_HOUR = timedelta(hours=1)
WAIT = {"Prefer": "wait=10"}
PASSWORD = "the-password-at-the-mail-server"
USERS, RESETS = 2, 2
# By its name: an import sets every logger of the process to DEBUG.
TALKATIVE = "tests.support.talkative"


def test_a_clear_ticket_is_only_in_its_mail(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("DEBUG")
    seen, mails, begin = Seen(), tmp_path / "var" / "mail", time.time()

    app = http_app(start(Settings(database_url=database_url, migrate_at_start=True)))
    with TestClient(app, raise_server_exceptions=False) as client:
        seen.all_of(client)
        for number in range(3):
            user = f"{BASE}/client-123/users/user-{number}"
            client.put(user, json={"email": f"user-{number}@example.com"})
            client.post(f"{user}/ticket", json={"modificationComment": "first"}, headers=WAIT)
            for attempt in range(4):
                key = {"Idempotency-Key": f"key-{number}-{attempt}"}
                client.post(f"{user}/ticket/reset", headers={**key, **WAIT})
                client.post(f"{user}/ticket/reset", headers=key)
                client.post(f"{user}/ticket/reset", headers={"If-Match": '"99"'})
                client.post(f"{user}/ticket/reset", content=b"{broken")
            read_everything(client, user)
        for ticket in tickets_in(mails):
            body = {"ticket": ticket}
            client.post(f"{user}/ticket/verify", json=body, headers={"Idempotency-Key": "v"})
            client.post(f"{user}/ticket/verify", json=body)
        stored = [*files_of(tmp_path / "var", "tickets.db*"), *postgres(database_url, begin)]

    tickets = tickets_in(mails)
    different = len(set(tickets))
    assert different == 3 * 5
    haystack = [*seen.answers, caplog.text.encode(), *stored, *files_of(tmp_path / "var", "tickets.db*")]
    assert sum(map(len, haystack)) > 10_000
    found = how_many_are_in(haystack, tickets)
    assert found == 0


def test_a_failing_mail_server_that_echoes_leaves_no_clear_ticket(database_url: str, tmp_path: Path) -> None:
    """With every logger at DEBUG and the event loops in debug mode, which log callbacks with their arguments."""
    refused, later, ends = "554 5.7.1 no: {ticket}", "451 4.3.0 later: {ticket}", "421 4.3.2 end: {ticket}"
    answers: Iterator[str] = itertools.cycle(
        [OK, refused, later, OK, DROPS, refused, HANGS, OK, ends, refused]
    )

    def answer_to(step: str, _to: str) -> str:
        return next(answers).format(ticket=mails.offered[-1].ticket) if step == "DATA" else OK

    seen, begin, certificate = Seen(), time.time(), self_signed(tmp_path / "mail.pem")
    with mail_server(answer_to, starttls=server_context(certificate), login=("tickets", PASSWORD)) as mails:
        settings = {
            **QUICK,
            "TICKETS_DATABASE_URL": database_url,
            "TICKETS_SMTP_URL": f"smtp://tickets:{PASSWORD}@localhost:{mails.port}",
            "TICKETS_SMTP_CA_FILE": str(certificate),
            "TICKETS_SMTP_TIMEOUT_SECONDS": "0.5",
            "PYTHONASYNCIODEBUG": "1",
        }
        with (
            serving(tmp_path, database_url, module=TALKATIVE, **settings) as server,
            command(tmp_path, "deliver", module=TALKATIVE, **settings) as worker,
        ):
            worker.reported("talkative")
            seen.all_of(server.client)
            users = [f"/client-123/users/user-{number}" for number in range(USERS)]
            for user in users:
                server.client.put(user, json={"email": "una@example.com"}).raise_for_status()
                for path in ["ticket", *["ticket/reset"] * RESETS]:
                    server.client.post(f"{user}/{path}", headers=WAIT).raise_for_status()
            answers = itertools.repeat(OK)
            for user in users:
                server.client.post(f"{user}/ticket/deliveries/retry").raise_for_status()
            all_over(database_url)
            for user in users:
                read_everything(server.client, user)
            stored = [*files_of(tmp_path), *postgres(database_url, begin)]

    tickets = [mail.ticket for mail in mails.offered]
    login = base64.b64encode(f"\0tickets\0{PASSWORD}".encode()).decode()
    secrets = [*tickets, PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), login]
    logs = [*files_of(tmp_path, "server-*.log"), *files_of(tmp_path, "err-*")]
    different = len(set(tickets))
    assert all(mail.encrypted and mail.user for mail in mails.offered)
    assert different == USERS * (1 + RESETS)
    assert len(mails.offered) > len(mails.taken) > USERS
    talkative_logs = sum(b"talkative" in log for log in logs)
    assert talkative_logs == len(logs) == 2
    found = how_many_are_in([*seen.answers, *stored, *files_of(tmp_path)], secrets)
    assert found == 0
    addresses = how_many_are_in(logs, ["una@example.com"])
    assert addresses == 0


def test_a_queued_ticket_is_stored_sealed_only(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin = time.time()
    with monkeypatch.context() as broken:
        broken.setattr(MailSpool, "send", _fail)
        with TestClient(
            http_app(start(Settings(database_url=database_url, migrate_at_start=True)))
        ) as client:
            Seen().all_of(client)
            user = f"{BASE}/client-123/users/user-1"
            client.put(user, json={"email": "user-1@example.com"})
            client.post(f"{user}/ticket")
            until(lambda: "full" in client.get(f"{user}/ticket/deliveries").text, "it was tried")
            stored = [*files_of(tmp_path), *postgres(database_url, begin)]
        stored += files_of(tmp_path)

    with TestClient(http_app(start(Settings(database_url=database_url, migrate_at_start=True)))) as client:
        Seen().all_of(client)
        client.post(f"{user}/ticket/deliveries/retry")
        all_over(database_url)

    [ticket] = tickets_in(tmp_path / "var" / "mail")
    found = how_many_are_in(stored, [ticket])
    assert found == 0


async def _fail(*_: object) -> None:
    raise NotDelivered("the disk is full", "not-written")


class Seen:
    """The responses to callers."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def all_of(self, client: AnyClient) -> None:
        """Keep the responses to this client, which gets every permission."""
        if "Authorization" not in client.headers:
            token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=_HOUR)
            client.headers["Authorization"] = f"Bearer {token}"
        client.event_hooks["response"] = [
            lambda answer: self.answers.append(answer.read() + str(answer.headers).encode())
        ]


def read_everything(client: AnyClient, user: str) -> None:
    """Read every resource of a user's ticket and of the service."""
    root = f"{client.base_url.scheme}://{client.base_url.netloc.decode()}"
    of_client, _, _ = user.partition("/users/")
    for path in ("", "/ticket", "/ticket/history", "/ticket/deliveries"):
        client.get(f"{user}{path}").raise_for_status()
    for path in ("/events", "/tickets"):
        client.get(f"{of_client}{path}")
    for path in ("/openapi.json", "/metrics", "/readyz"):
        client.get(f"{root}{path}")


def tickets_in(directory: Path) -> list[str]:
    mails = [
        email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        for file in files_in(directory)
    ]
    found = [
        re.findall(r"^ {4}(\S{4}(?: \S{4}){5})\r?$", mail.get_content(), re.MULTILINE)[0] for mail in mails
    ]
    return [ticket.replace(" ", "") for ticket in found]


def how_many_are_in(haystack: Iterable[bytes], secrets: Iterable[str]) -> int:
    """Return the number of secrets that occur. Not to be called in an assert, which would show its arguments."""
    in_groups = [" ".join(re.findall(".{1,4}", secret)) for secret in secrets]
    needles = [secret.encode() for secret in [*secrets, *in_groups]]
    return sum(needle in content for content in haystack for needle in needles)


def files_of(directory: Path, names: str = "**/*") -> list[bytes]:
    """Return the contents of the files, except the mails."""
    found = [path for path in directory.glob(names) if path.is_file() and path.suffix != ".eml"]
    return [path.read_bytes() for path in found]


def postgres(database_url: str, begin: float) -> list[bytes]:
    """Return the rows of the tables, and the local files of the database, its write-ahead log and its own log."""
    if database_url.startswith("sqlite"):
        return []
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        names = connection.execute("SELECT relname FROM pg_stat_user_tables").fetchall()
        rows = [row for (name,) in names for row in connection.execute(f'SELECT * FROM "{name}"'.encode())]
        shown = connection.execute("SHOW data_directory").fetchone()
    assert shown
    values = [value for row in rows for value in row]
    files = []
    for path in Path(shown[0]).glob("**/*"):
        with suppress(FileNotFoundError):  # the server removes files at any time
            if path.is_file() and path.stat().st_mtime >= begin:
                files.append(path.read_bytes())
    return [value if isinstance(value, bytes) else str(value).encode() for value in values] + files
