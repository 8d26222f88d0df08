"""A store of every earlier schema, filled by the program of that time, is migrated, consistent and usable.

tests/support/old_stores.py created them.
"""

import gzip
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from application.record.replay import Findings
from interface.composition.http_app import http_app
from interface.composition.record import check_record
from interface.composition.server import sign_token
from interface.composition.service import start
from interface.outbound.sql import schema
from interface.settings import Settings
from tests.support import old_stores
from tests.support.command import Command
from tests.support.deliveries import all_over
from tests.support.old_stores import CLIENT, DELETED, DELIVERED, ERASED, OTHER, OUTBOX_KEY, RESET_KEY, WAITING
from tests.support.server import BASE

NEWEST = {"sqlite": len(schema.SQLITE), "postgres": len(schema.POSTGRES)}
STORES = [
    *[f"sqlite-{version}.db.gz" for version in range(1, NEWEST["sqlite"])],
    *[f"postgres-{version}.sql.gz" for version in range(1, NEWEST["postgres"])],
]
USERS = f"{BASE}/{CLIENT}/users"
OF_OTHER = f"{BASE}/%C3%BCn%C3%AF%2Fc%C3%B8de"


@pytest.fixture
def old_url(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    old_stores.give_ledger_key(tmp_path)
    content = gzip.decompress((old_stores.DIRECTORY / name).read_bytes())
    url: str = request.getfixturevalue(f"{name.partition('-')[0]}_url")
    if name.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        path.write_bytes(content)
        path.chmod(0o600)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(content)
    return url


def replayed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Findings:
    """Return the findings of `tickets replay --check`; without its processes, which only pay off on large stores."""
    monkeypatch.setenv("TICKETS_DATABASE_URL", database_url)
    monkeypatch.setattr("interface.composition.record.ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))
    return check_record([], lambda _done, _all: None)


@pytest.mark.parametrize("name", STORES)
def test_an_old_store_is_migrated_consistent_and_usable(
    name: str, old_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, _, version = name.partition(".")[0].partition("-")
    migrating = Command(tmp_path, "migrate", TICKETS_DATABASE_URL=old_url)
    assert migrating.wait() == 0
    assert migrating.out.read_text() == f"The schema has version {NEWEST[kind]} now; it had {version}.\n"

    monkeypatch.chdir(tmp_path)
    running = start(Settings(database_url=old_url, outbox_key=SecretStr(OUTBOX_KEY), push=False))
    with TestClient(http_app(running)) as client:
        token = sign_token(subject="helpdesk", clients=["*"], permissions=[], lifetime=timedelta(hours=1))
        client.headers["Authorization"] = f"Bearer {token}"
        # A request repeated after the upgrade is not executed twice.
        again = client.post(f"{USERS}/{WAITING}/ticket/reset", headers=RESET_KEY)
        assert (again.status_code, again.json()["resetCount"]) == (200, 1)
        # Tickets queued by the old program, and encrypted with its key, are delivered now.
        all_over(old_url)
        mails = sorted(path.name for path in (tmp_path / "var" / "mail").glob("*.eml"))
        assert mails[-1].endswith("-2.eml")
        for user, count in ((DELIVERED, 2), (WAITING, 2)):
            answer = client.post(f"{USERS}/{user}/ticket/reset", headers={"Prefer": "wait=10"})
            assert (answer.status_code, answer.json()["resetCount"]) == (200, count)
            assert len(client.get(f"{USERS}/{user}/ticket/history").json()["items"]) >= count + 1
        assert client.get(f"{USERS}/{DELETED}/ticket").status_code == 404
        assert client.get(f"{USERS}/{ERASED}").status_code == 404
        assert client.post(f"{OF_OTHER}/users/user-1/ticket/reset").json()["resetCount"] == 1
        events = [client.get(f"{of}/events").json() for of in (f"{BASE}/{CLIENT}", OF_OTHER)]
        all_over(old_url)

    for items in events:
        assert [int(item["id"].split(".")[0]) for item in items] == list(range(1, len(items) + 1))
    findings = replayed(old_url, monkeypatch)
    assert (findings.faults, findings.lost) == ([], [])
    assert findings.events > 10
    assert findings.checkpoints or "1." in name or name == "postgres-2.sql.gz"  # they had no ledger to sign


def test_each_earlier_schema_has_a_store() -> None:
    """If this fails, a schema was added: add the last commit with the previous one, and create its store."""
    assert sorted(path.name for path in old_stores.DIRECTORY.iterdir()) == sorted(STORES)
    assert OTHER == "ünï/cøde"
