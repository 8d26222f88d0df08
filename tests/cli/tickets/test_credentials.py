"""The commands that import and export credentials (both stores)."""

import hashlib
import json
from pathlib import Path

import pytest

from domain.policies.policy import TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.states import State
from interface.composition.installation import operator
from tests.application.tickets.test_import_tickets import ROW
from tests.cli.core.test_every_command import changes
from tests.domain.tickets.test_stored_hash import hashed
from tests.support.command import command, tickets
from tests.support.lanes import forms
from tests.support.ledgers import opened
from tests.support.server import until
from tests.support.service import service_over
from tests.support.stores import states_of

CLIENT = "client-123"
POLICY = TicketPolicy(reusable=True, tmp_locking_threshold=-1, max_cred_failure_count=2)
# The new record begins with the import; an expiry is decided again.
NOT_MOVED = {"version", "last_modified", "imported", "expiry_warned", "expiry_recorded"}
NOT_MOVED |= {"daily_delivery_count", "daily_delivery_day"}


def write(directory: Path, count: int, **changed: object) -> None:
    users = [f"user-{number}" for number in range(count)]
    (directory / "users.csv").write_text(
        "userExtId,email\n" + "".join(f"{user},{user}@example.com\n" for user in users)
    )
    rows = [{**ROW, "userExtId": user, "extId": f"t-{user}", **changed} for user in users]
    (directory / "rows.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run(directory: Path, database_url: str, *arguments: str, status: int = 0) -> str:
    done = tickets(directory, *arguments, TICKETS_DATABASE_URL=database_url, TICKETS_MIGRATE_AT_START="true")
    assert done.returncode == status, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def import_(directory: Path, database_url: str, *options: str, status: int = 0) -> str:
    given = ("--client", CLIENT, "--source", "old", *options)
    return run(directory, database_url, "credentials", "import", "rows.ndjson", *given, status=status)


@pytest.mark.parametrize("count", forms(short=1_500, full=8_000))
def test_an_import_is_repeated_without_a_change(database_url: str, tmp_path: Path, count: int) -> None:
    write(tmp_path, count)
    run(tmp_path, database_url, "users", "import", "users.csv", "--client", CLIENT)

    dry = import_(tmp_path, database_url, "--dry-run")
    first = import_(tmp_path, database_url)
    again = import_(tmp_path, database_url)

    assert f"│ new │ {count} │" in dry
    assert f"│ new │ {count} │" in first
    assert f"│ unchanged │ {count} │" in again
    assert f"{2 * count:,} events" in run(tmp_path, database_url, "replay", "--check")


def test_an_import_that_is_killed_is_repeated(database_url: str, tmp_path: Path) -> None:
    count = 4_000
    write(tmp_path, count)
    run(tmp_path, database_url, "users", "import", "users.csv", "--client", CLIENT)
    arguments = ("credentials", "import", "rows.ndjson", "--client", CLIENT, "--source", "old")
    with command(tmp_path, *arguments, TICKETS_DATABASE_URL=database_url):
        until(lambda: size(database_url) > count, "the first rows are imported")

    import_(tmp_path, database_url)

    assert count < size(database_url) == 2 * count
    assert "nothing differs" in run(tmp_path, database_url, "replay", "--check")


def size(database_url: str) -> int:
    with opened(database_url) as store:
        return store.size(CLIENT)


def test_an_import_leaves_an_event_and_a_report(database_url: str, tmp_path: Path) -> None:
    write(tmp_path, 2, ticket=hashed("SSHA", "ticket", b"salt"))
    run(tmp_path, database_url, "users", "import", "users.csv", "--client", CLIENT)
    rows = (tmp_path / "rows.ndjson").read_text()
    (tmp_path / "rows.ndjson").write_text(rows + "{}\n")

    report = import_(tmp_path, database_url, "--history", "users.csv", status=1)

    assert "│ hash ARGON2ID+SSHA │ 2 │ │ hash wrapped │ 2 │ │ refused: RowInvalid │ 1 │" in report
    assert "line 3: RowInvalid: extId: Field required; userExtId: Field required" in report
    shown = run(tmp_path, database_url, "audit", "export", CLIENT)
    assert hashlib.sha256((tmp_path / "users.csv").read_bytes()).hexdigest() in shown
    assert [change for change in changes(database_url) if change[0] == "TicketImported"] == [
        ("TicketImported", "user-0", operator()),
        ("TicketImported", "user-1", operator()),
    ]


def test_a_file_that_cannot_be_read_is_named(database_url: str, tmp_path: Path) -> None:
    assert "rows.ndjson cannot be read" in import_(tmp_path, database_url, status=2)


def test_the_installation_has_no_credentials(database_url: str, tmp_path: Path) -> None:
    write(tmp_path, 1)

    given = ("credentials", "import", "rows.ndjson", "--client", ".", "--source", "old")
    assert "which has no users" in run(tmp_path, database_url, *given, status=2)


def test_an_export_is_loaded_by_another_installation(database_url: str, tmp_path: Path) -> None:
    users = [Subject(CLIENT, name) for name in ("anna", "ben", "carla", "dora", "émil, 2")]
    with opened(database_url) as store, service_over(store) as service:
        service.define("letters/2", policy=POLICY)
        for user in users:
            service.register(subject=user, name='"Una" Üser', postal_address=("Weg 1", "8000 Ort"))
        tickets_of = {}
        for user in users[:-1]:
            service.create(subject=user, ext_id=f"t-{user.user_ext_id}", policy_ext_id="letters/2")
            tickets_of[user] = service.newest().reveal()
        service.verify(tickets_of[users[0]], subject=users[0])
        for _ in range(2):
            service.verify("wrong", subject=users[1])
        service.modify(subject=users[2], state=State.DISABLED, reason="for a while")
        service.delete(subject=users[3])
        former = states_of(store, users)
        now = service.clock.now

    written = run(tmp_path, database_url, "credentials", "export", CLIENT, "--output", "export")

    names = ("policies/letters%2F2.json", "users.csv", "credentials.ndjson", "history.ndjson")
    assert written.split() == [f"export/{name}" for name in names]
    assert {(tmp_path / "export" / name).stat().st_mode & 0o777 for name in names} == {0o600}
    assert len((tmp_path / "export" / "history.ndjson").read_text().splitlines()) >= 16
    other = tmp_path / "other"
    other.mkdir()
    url = f"sqlite:///{other}/var/tickets.db"
    (other / "rows.ndjson").write_text((tmp_path / "export" / "credentials.ndjson").read_text())
    with opened(url) as store, service_over(store) as service:
        service.define("letters/2", policy=POLICY)
    run(other, url, "users", "import", "../export/users.csv", "--client", CLIENT)
    import_(other, url)
    with opened(url) as store, service_over(store) as service:
        service.clock.now = now
        moved = states_of(store, users)
        for user in users[:3]:
            was, is_ = former[user], moved[user]
            for name in was.__struct_fields__:
                if name not in NOT_MOVED:
                    assert getattr(was, name) == getattr(is_, name), (user, name)
        assert service.verify(tickets_of[users[0]], subject=users[0])["verified"]
        assert service.verify(tickets_of[users[1]], subject=users[1])["reason"] == "locked"
        assert service.verify(tickets_of[users[2]], subject=users[2])["reason"] == "disabled"
        assert users[3] not in moved
    assert "nothing differs" in run(other, url, "replay", "--check")


def test_an_export_of_an_unknown_client_writes_nothing(database_url: str, tmp_path: Path) -> None:
    run(tmp_path, database_url, "migrate")

    run(tmp_path, database_url, "credentials", "export", "unknown", "--output", "export", status=2)

    assert not (tmp_path / "export").exists()
