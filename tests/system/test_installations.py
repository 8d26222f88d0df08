"""Every later version opens, upgrades, checks and verifies the installation of a release.

tests/support/installations.py created it, with the program of the release.
"""

import email
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from interface import verify_evidence
from interface.composition.http_app import http_app
from interface.composition.record import check_record
from interface.composition.server import sign_token
from interface.composition.service import start
from interface.settings import Settings
from tests.support import installations, names
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.installations import ANSWERS, CLIENT, EVIDENCE, KEPT, KEYS, PROVEN, WAITING
from tests.support.releases import RELEASES
from tests.support.server import BASE, until

# The lag of a subscription: the reads of this test are events, too.
GROWING = {"lag"}
TICKETS = f"{BASE}/{CLIENT}/users/{{}}/ticket"


@pytest.fixture(
    params=[f"{release}-{store}.tar.gz" for release in RELEASES for store in ("sqlite", "postgres")]
)
def installation(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of the store; the working directory is that of the operator, after `tickets migrate`."""
    installations.unpack(request.param, tmp_path)
    url = f"sqlite:///{tmp_path}/var/tickets.db"
    if "postgres" in request.param:
        url = request.getfixturevalue("postgres_url")
        with psycopg.connect(url) as connection:
            connection.execute((tmp_path / installations.DUMP).read_bytes())
    for name, value in {**installations.SETTINGS, "TICKETS_DATABASE_URL": url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert tickets(tmp_path, "migrate", TICKETS_DATABASE_URL=url).returncode == 0
    return url


@pytest.fixture
def release(request: pytest.FixtureRequest) -> str:
    name: str = request.node.callspec.params["installation"]
    return name.partition("-")[0]


def serving(*, deliver: bool) -> TestClient:
    client = TestClient(http_app(start(Settings(deliver=deliver))))
    token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=timedelta(hours=1))
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def missing(released: Any, now: Any, path: str = "") -> list[str]:
    """Return the places where a response lacks a value of the release. Fields, items and fractions of times may be added."""
    if isinstance(released, dict) and isinstance(now, dict):
        return [
            place
            for name, value in released.items()
            if name not in GROWING
            for place in missing(value, now.get(name), f"{path}/{name}")
        ]
    if isinstance(released, list) and isinstance(now, list) and len(released) <= len(now):
        pairs = enumerate(zip(released, now, strict=False))
        return [place for index, pair in pairs for place in missing(*pair, f"{path}/{index}")]
    same = released == now or (path.endswith("/time") and released == re.sub(r"\.\d{6}Z$", "Z", str(now)))
    return [] if same else [f"{path}: {released!r} became {now!r}"]


def test_it_has_every_kind_of_event_and_of_row(installation: str, release: str) -> None:
    released = (names.DIRECTORY / f"{release}.txt").read_text().splitlines()
    kinds = {
        kind: {line.split()[1] for line in released if line.startswith(kind)} for kind in ("event ", "table ")
    }
    tables = {name for name in kinds["table "] if not name.startswith("sqlite_")}

    with closing(open_store(installation)) as store:
        topics = {topic for (topic,) in store._fetch("SELECT DISTINCT topic FROM ticket_events", ())}
        empty = {name for name in tables if not store._fetch(f"SELECT 1 FROM {name} LIMIT 1", ())}

    assert kinds["event "] - topics == set()
    assert empty == set()


@pytest.mark.usefixtures("installation")
def test_its_responses_are_unchanged(tmp_path: Path) -> None:
    released = json.loads((tmp_path / ANSWERS).read_text())

    with serving(deliver=False) as client:
        now = {path: client.get(f"{BASE}{path}") for path in released}

    assert {path: answer.status_code for path, answer in now.items() if answer.status_code != 200} == {}
    assert missing(released, {path: answer.json() for path, answer in now.items()}) == []


def recipients(mails: Path) -> set[str]:
    """Return the users to whom a mail was sent."""
    parsed = [email.message_from_bytes(path.read_bytes()) for path in mails.glob("*.eml")]
    return {parseaddr(mail["To"])[1].partition("@")[0] for mail in parsed}


@pytest.mark.usefixtures("installation")
def test_it_continues(tmp_path: Path) -> None:
    with serving(deliver=True) as client:
        again = client.post(f"{TICKETS.format(WAITING)}/reset", headers=installations.RESET_KEY)
        refused = client.post(f"{TICKETS.format('user-archived')}/reset", headers=installations.REFUSED_KEY)
        further = client.post(f"{TICKETS.format(PROVEN)}/reset")
        mails = tmp_path / "var" / "mail"
        until(lambda: {"waiting", PROVEN} <= recipients(mails), "the tickets are delivered")

    assert (again.status_code, again.json()["resetCount"]) == (200, 1)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "errors.policyViolation")
    assert (further.status_code, further.json()["resetCount"]) == (200, 2)


def test_its_record_is_complete_and_its_evidence_is_verified(
    installation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("interface.composition.record.ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))
    findings = check_record([tmp_path / KEPT], lambda _done, _all: None)
    assert (findings.faults, findings.lost) == ([], [])
    assert findings.checkpoints >= 2

    with serving(deliver=False) as client:
        client.post(f"{TICKETS.format(PROVEN)}/reset").raise_for_status()
    size = (tmp_path / KEPT).read_text().splitlines()[1]
    export = ("evidence", "export", CLIENT, PROVEN, "-o", "new.zip", "--since", size)
    exported = tickets(tmp_path, *export, TICKETS_DATABASE_URL=installation)
    assert exported.returncode == 0, exported.stderr
    for evidence in (EVIDENCE, "new.zip"):
        monkeypatch.setattr("sys.argv", ["verify_evidence.py", evidence, "--key", KEYS, "--checkpoint", KEPT])
        status = verify_evidence.main()
        assert status == 0, capsys.readouterr().out
