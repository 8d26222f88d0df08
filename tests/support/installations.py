"""Creates tests/system/installations: an operator's installation of each release, with all kinds of events and rows.

`python -m tests.support.installations` runs the programs of tests/support/releases.py, and keeps the archives that exist.
An archive is the working directory of the service: the SQLite file or a dump of PostgreSQL, the keys, the mails, the
directory of checkpoints, an evidence file with a kept checkpoint and the verifier keys, and the responses of the service.
"""

import json
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.support.evidence import ticket_in
from tests.support.postgres import fresh_database, running_server
from tests.support.releases import RELEASES, Program, dumped, program_of
from tests.support.server import ROOT, until

DIRECTORY = ROOT / "tests" / "system" / "installations"
CLIENT, OTHER = "client-123", "%C3%BCn%C3%AF%2Fc%C3%B8de"
# Files beside var/.
DUMP, EVIDENCE, KEPT, KEYS, ANSWERS = (
    "store.sql",
    "evidence.zip",
    "kept.checkpoint",
    "verifier-keys.txt",
    "answers.json",
)
# The user of the evidence; a user with an undelivered ticket; and the keys of a reset and a refusal.
PROVEN, WAITING = "user-1", "user-waiting"
RESET_KEY, REFUSED_KEY = {"Idempotency-Key": "the reset"}, {"Idempotency-Key": "the refusal"}
SETTINGS = {
    "TICKETS_CHECKPOINT_DIR": "checkpoints",
    "TICKETS_RATE_LIMIT_PER_CREDENTIAL": "off",
    "TICKETS_PUSH": "False",
    "TICKETS_MIGRATE_AT_START": "True",
}
_LONG = 100 * 365 * 86_400_000
_TILE = 256


def make_all() -> None:
    """Create the missing archives."""
    DIRECTORY.mkdir(exist_ok=True)
    for release, commit in RELEASES.items():
        sqlite, postgres = (DIRECTORY / f"{release}-{store}.tar.gz" for store in ("sqlite", "postgres"))
        with program_of(commit) as code:
            if not sqlite.exists():
                _make_sqlite(code, sqlite)
            if not postgres.exists():
                _make_postgres(code, postgres)


def _make_sqlite(code: Path, archive: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "var" / "tickets.db"
        _fill(Program(code, Path(directory), f"sqlite:///{path}", SETTINGS))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _pack(Path(directory), archive)


def _make_postgres(code: Path, archive: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server() as server,
        fresh_database(server) as url,
    ):
        _fill(Program(code, Path(directory), url, SETTINGS))
        (Path(directory) / DUMP).write_bytes(dumped(url))
        _pack(Path(directory), archive)


def _pack(directory: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as packed:
        for path in sorted(directory.iterdir()):
            packed.add(path, path.name)


def unpack(name: str, directory: Path) -> None:
    """Unpack an installation into a directory."""
    with tarfile.open(DIRECTORY / name) as packed:
        packed.extractall(directory, filter="data")


def _fill(program: Program) -> None:
    with program.serving(deliver=True) as client:
        _define_policies(client)
        _run_life_cycle(client, program.directory / "var" / "mail")
        _fail_and_end_deliveries(client)
        _subscribe(client)
        _fill_a_tile(client)
        until(lambda: _delivered(client, PROVEN), "the ticket is delivered")
    _import_a_user(program)
    program.run("jobs", "expire")
    (program.directory / KEYS).write_text(program.run("keys", "public"))
    program.run("keys", "rotate")
    with (program.directory / KEYS).open("a") as keys:
        keys.write(program.run("keys", "public"))
    (program.directory / KEPT).write_text(program.run("checkpoint", CLIENT))
    program.run("restored")
    with program.serving(deliver=False) as client:
        _put(client, f"/{CLIENT}/users/{WAITING}", {"email": "waiting@example.com", "name": "Wada"})
        _post(client, f"/{CLIENT}/users/{WAITING}/ticket", {"policyExtId": "long"})
        client.post(f"/{CLIENT}/users/{WAITING}/ticket/reset", headers=RESET_KEY).raise_for_status()
        refused = client.post(f"/{CLIENT}/users/user-archived/ticket/reset", headers=REFUSED_KEY)
        assert refused.status_code == 422, refused.text
        program.run("keys", "rotate", "--outbox")
        (program.directory / ANSWERS).write_text(json.dumps(_read(client), indent=1))
    program.run("evidence", "export", CLIENT, PROVEN, "-o", EVIDENCE)
    _forget_mails(program.directory / "var" / "mail")


def _define_policies(client: httpx.Client) -> None:
    long = {"credentialLifetime": _LONG, "tmpLockingDuration": 1000}
    _put(client, f"/{CLIENT}/policies/long", {"parameters": long})
    _put(client, f"/{CLIENT}/policies/first", {"parameters": long, "defaultPolicy": True})
    # The default of another one withdraws the first.
    _put(
        client,
        f"/{CLIENT}/policies/strong",
        {"parameters": long | {"hashAlgorithm": "ARGON2ID", "reusable": True}, "defaultPolicy": True},
    )
    _put(client, f"/{CLIENT}/policies/unsendable", {"parameters": long | {"sendingMethod": ["PDFstore"]}})
    _put(client, f"/{CLIENT}/policies/unsent", {"parameters": long | {"sendingMethod": ["PDFstore", "None"]}})


def _run_life_cycle(client: httpx.Client, mails: Path) -> None:
    ticket = _given_a_ticket(client, PROVEN)
    _post(client, f"{ticket}/verify", {"ticket": "wrong"})
    _patch(client, ticket, {"policyExtId": "strong", "modificationComment": "Zoë's"})
    _post(client, f"{ticket}/verify", {"ticket": _mailed(mails, PROVEN)})  # hashed again, by the new policy
    _patch(client, ticket, {"validity": {"to": "2100-01-01T00:00:00Z"}})
    _patch(client, ticket, {"stateName": "disabled"})
    _patch(client, ticket, {"stateName": "active"})
    _post(client, f"{ticket}/reset", {"modificationComment": "lost"})
    client.get(f"{ticket}/history").raise_for_status()  # which is recorded

    _patch(
        client,
        _given_a_ticket(client, "user-expired"),
        {"validity": {"from": "2026-01-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}},
    )
    _patch(
        client, _given_a_ticket(client, "user-soon", "default"), {"modificationComment": "ends in some days"}
    )
    archived = _given_a_ticket(client, "user-archived")
    _patch(client, archived, {"stateName": "archived"})
    client.delete(_given_a_ticket(client, "user-deleted")).raise_for_status()
    _given_a_ticket(client, "user-erased")
    client.delete(f"/{CLIENT}/users/user-erased").raise_for_status()
    _put(client, f"/{OTHER}/users/user-1", {"email": "u@example.com"})
    _post(client, f"/{OTHER}/users/user-1/ticket", {})


def _fail_and_end_deliveries(client: httpx.Client) -> None:
    _put(
        client, f"/{CLIENT}/users/user-unsendable", {"email": "unsendable@example.com"}
    )  # and no postal address
    ticket = f"/{CLIENT}/users/user-unsendable/ticket"
    _post(client, ticket, {"policyExtId": "unsendable"})
    until(lambda: _status(client, "user-unsendable") == "failed", "the delivery has failed")
    _put(client, f"/{CLIENT}/users/user-unsent", {"email": "unsent@example.com"})
    _post(client, f"/{CLIENT}/users/user-unsent/ticket", {"policyExtId": "unsent"})
    until(lambda: _status(client, "user-unsent") == "ended", "the delivery has ended")


def _subscribe(client: httpx.Client) -> None:
    subscriptions = f"/{CLIENT}/subscriptions"
    for name in ("siem", "former"):
        _put(client, f"{subscriptions}/{name}", {"url": f"https://{name}.example/hook", "after": 0})
    client.post(f"{subscriptions}/siem/replay", params={"from": 5}).raise_for_status()
    client.delete(f"{subscriptions}/former").raise_for_status()
    stream = client.post(f"/{CLIENT}/ssf/streams", json={"description": "polled"}).raise_for_status().json()
    status = {"stream_id": stream["stream_id"], "status": "paused", "reason": "maintenance"}
    _post(client, f"/{CLIENT}/ssf/status", status)


def _fill_a_tile(client: httpx.Client) -> None:
    """Change a ticket until the ledger has a full tile; the next checkpoint stores its hash."""
    ticket = _given_a_ticket(client, "user-commented")
    for number in range(_TILE):
        _patch(client, ticket, {"modificationComment": f"comment {number}"})


def _import_a_user(program: Program) -> None:
    users = program.directory / "users.csv"
    users.write_text(
        "userExtId,email,name,language,postalAddress\nuser-imported,i@example.com,Ina,de,Weg 1|8000 Zürich\n",
        encoding="utf-8",
    )
    program.run("users", "import", users.name, "--client", CLIENT)
    users.unlink()


def _given_a_ticket(client: httpx.Client, user: str, policy: str = "long") -> str:
    _put(client, f"/{CLIENT}/users/{user}", {"email": f"{user}@example.com"})
    _post(client, f"/{CLIENT}/users/{user}/ticket", {"policyExtId": policy})
    until(lambda: _delivered(client, user), f"the ticket of {user} is delivered")
    return f"/{CLIENT}/users/{user}/ticket"


def _delivered(client: httpx.Client, user: str) -> bool:
    return _status(client, user) == "sent"


def _status(client: httpx.Client, user: str) -> str:
    """Return the delivery status of a user's newest ticket."""
    items = client.get(f"/{CLIENT}/users/{user}/ticket/deliveries").raise_for_status().json()["items"]
    return str(items[0]["status"]) if items else ""


def _mailed(mails: Path, user: str) -> str:
    [mail] = [path for path in mails.glob("*.eml") if f"To: {user}@example.com".encode() in path.read_bytes()]
    return ticket_in(mail).reveal()


def _forget_mails(mails: Path) -> None:
    for mail in mails.glob("*.eml"):
        mail.unlink()


def _read(client: httpx.Client) -> dict[str, Any]:
    """Return the server's responses by path."""
    users = (PROVEN, WAITING, "user-expired", "user-archived", "user-imported", "user-unsendable")
    paths = [
        *[f"/{CLIENT}/users/{user}" for user in users],
        *[f"/{CLIENT}/users/{user}/ticket" for user in users if user != "user-imported"],
        *[f"/{CLIENT}/users/{user}/ticket/deliveries" for user in users if user != "user-imported"],
        f"/{CLIENT}/users/{PROVEN}/ticket/history?limit=20",
        f"/{CLIENT}/users/user-deleted/ticket/history",
        f"/{CLIENT}/policies",
        f"/{CLIENT}/policies/strong",
        f"/{CLIENT}/subscriptions",
        f"/{CLIENT}/ssf/streams",
        f"/{CLIENT}/events?limit=1000",
        f"/{OTHER}/events?limit=1000",
    ]
    return {path: _body(client.get(path)) for path in paths}


def _body(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json() if "json" in answer.headers["Content-Type"] else answer.text


def _put(client: httpx.Client, path: str, body: Any) -> None:
    client.put(path, json=body).raise_for_status()


def _post(client: httpx.Client, path: str, body: Any) -> None:
    client.post(path, json=body).raise_for_status()


def _patch(client: httpx.Client, path: str, body: Any) -> None:
    client.patch(path, json=body).raise_for_status()


if __name__ == "__main__":
    make_all()
