"""The commands that import credentials (both stores)."""

import json
from pathlib import Path

import pytest

from interface.composition.installation import operator
from tests.application.tickets.test_import_tickets import ROW
from tests.cli.core.test_every_command import changes
from tests.domain.tickets.test_stored_hash import hashed
from tests.support.command import tickets
from tests.support.lanes import forms

CLIENT = "client-123"


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


@pytest.mark.parametrize("count", forms(short=1_500, full=100_000))
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


def test_an_import_leaves_an_event_and_a_report(database_url: str, tmp_path: Path) -> None:
    write(tmp_path, 2, ticket=hashed("SSHA", "ticket", b"salt"))
    run(tmp_path, database_url, "users", "import", "users.csv", "--client", CLIENT)
    rows = (tmp_path / "rows.ndjson").read_text()
    (tmp_path / "rows.ndjson").write_text(rows + "{}\n")

    report = import_(tmp_path, database_url, status=1)

    assert "│ hash ARGON2ID+SSHA │ 2 │ │ hash wrapped │ 2 │ │ refused: RowInvalid │ 1 │" in report
    assert "line 3: RowInvalid: extId: Field required; userExtId: Field required" in report
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
