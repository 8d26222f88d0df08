"""Creates tests/outbound/sql/stores: a store of every earlier schema, filled by the program of that time. Run once per schema.

`python -m tests.support.old_stores` takes the programs from the history of the repository and keeps existing stores.
"""

import base64
import gzip
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.postgres import fresh_database, running_server
from tests.support.releases import Program, dumped, program_of
from tests.support.server import ROOT, until

DIRECTORY = ROOT / "tests" / "outbound" / "sql" / "stores"
# The last commit whose program had that schema.
SQLITE = {
    1: "e367ee5",
    2: "28a8121",
    3: "eaa5688",
    4: "bb307e8",
    5: "aab2490",
    6: "338fd61",
    7: "e131efd",
    8: "e514dbd",
    9: "4bb0e52",
}
POSTGRES = {
    1: "b2e044f",
    2: "e367ee5",
    3: "0313d6c",
    4: "28a8121",
    5: "eaa5688",
    6: "bb307e8",
    7: "aab2490",
    8: "338fd61",
    9: "e131efd",
    10: "e514dbd",
    11: "4bb0e52",
}

CLIENT, OTHER = "client-123", "ünï/cøde"
# A user with a queued ticket that is valid for a hundred years and was reset once with this key.
WAITING, RESET_KEY = "user-waiting", {"Idempotency-Key": "the reset"}
DELIVERED, DELETED, ERASED = "user-delivered", "user-deleted", "user-erased"
# Not secret: they belong to these stores alone. In base64, like TICKETS_OUTBOX_KEY.
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
    # The column usable_from may follow.
    assert [int(number) for number in re.findall(rb"public\.schema_version VALUES \((\d+)", sql)][
        -1
    ] == version
    return sql


@contextmanager
def _program(commit: str) -> Iterator[Path]:
    """Yield a directory with the program of a commit and the key that signs."""
    with program_of(commit) as directory:
        give_ledger_key(directory)
        yield directory


def _fill(directory: Path, database_url: str) -> None:
    program = Program(directory, directory, database_url, _settings(directory))
    with program.serving(deliver=True) as client:
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
        program.run("checkpoint", CLIENT)
    with program.serving(deliver=False) as client:
        client.put(
            f"/{CLIENT}/users/{WAITING}", json={"email": "waiting@example.com", "name": "Wada"}
        ).raise_for_status()
        client.post(f"/{CLIENT}/users/{WAITING}/ticket", json={"policyExtId": "long"}).raise_for_status()
        client.post(f"/{CLIENT}/users/{WAITING}/ticket/reset", headers=RESET_KEY).raise_for_status()


def _settings(directory: Path) -> dict[str, str]:
    return {
        "TICKETS_OUTBOX_KEY": OUTBOX_KEY,
        **({"TICKETS_PUSH": "False"} if _has(directory, "push") else {}),
        **({"TICKETS_MIGRATE_AT_START": "True"} if _has(directory, "migrate_at_start") else {}),
    }


def _has(directory: Path, setting: str) -> bool:
    files = [*directory.glob("interface/settings.py"), *directory.glob("interface/settings/*.py")]
    return any(f"\n    {setting}: Annotated" in file.read_text() for file in files)


if __name__ == "__main__":
    make_all()
