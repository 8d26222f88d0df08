"""Every command that changes something leaves its event, or is listed with the reason (both stores)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from typer.core import TyperGroup

from domain.shared.subject import Subject
from interface.composition.installation import operator
from interface.main import command_line
from tests.support.command import command, tickets
from tests.support.deliveries import minting, smtp
from tests.support.ledgers import opened
from tests.support.mail_server import mail_server
from tests.support.server import until
from tests.support.service import service_over
from tests.support.stores import as_release_1_0_wrote

CLIENT = "client-123"
USER = Subject(CLIENT, "anna")
READS = {
    *("doctor", "evidence verify", "keys public"),
    *("templates check", "templates kinds", "templates render"),
    # Their reads are recorded in the access log, except those of the feed.
    *("history", "installation history", "replay", "audit export", "audit permanent-comments"),
    *("evidence export", "follow", "credentials export"),
}
UNRECORDED = {
    "token": "it stores nothing; the events of a request name the subject of its token",
    "serve": "its operations leave their events (tests/http/record/test_every_change.py)",
    "push": "it reads events; a receiver that fails parks its subscription (tests/system/test_push.py)",
    "publish": "it reads events; its position is in the broker or a file",
}
RECORDED = {
    *("users import", "users record", "jobs expire", "deliver", "reset"),
    "credentials import",  # tests/cli/tickets/test_credentials.py
    # In the ledger of the installation (tests/cli/operations/test_installation.py).
    *(
        "migrate",
        "rebuild",
        "backup",
        "restore",
        "restored",
        "keys rotate",
        "keys reseal",
        "checkpoint",
        "jobs check",
        "jobs seal",
    ),
}


def commands_of(group: Any, prefix: str = "") -> Iterator[str]:
    """Yield the commands of the command line, each as its words."""
    if isinstance(group, TyperGroup):
        for name, inner in group.commands.items():
            yield from commands_of(inner, f"{prefix} {name}")
    else:
        yield prefix.strip()


def changes(database_url: str) -> list[tuple[Any, ...]]:
    """Return the type, user and actor of each event of the client."""
    with opened(database_url) as store:
        entries = store.entries(CLIENT, 0, 1000)
        return [(entry.topic, entry.user_ext_id, store.event(entry).actor) for entry in entries]


def test_every_command_is_listed() -> None:
    """A new command fails until it is in one of the lists."""
    known = [*READS, *UNRECORDED, *RECORDED]

    assert sorted(commands_of(typer.main.get_command(command_line()))) == sorted(known)


def test_an_import_leaves_an_event_for_each_user(database_url: str, tmp_path: Path) -> None:
    settings = {"TICKETS_DATABASE_URL": database_url}
    assert tickets(tmp_path, "migrate", **settings).returncode == 0
    for mail in ("a@example.com", "b@example.com"):
        (tmp_path / "users.csv").write_text(f"userExtId,email\nanna,{mail}\n")
        done = tickets(tmp_path, "users", "import", "users.csv", "--client", CLIENT, **settings)
        assert done.returncode == 0, done.stderr

    assert [(topic, user) for topic, user, _ in changes(database_url)] == [
        ("UserRegistered", "anna"),
        ("UserChanged", "anna"),
    ]
    assert all(actor for *_, actor in changes(database_url))


def test_the_job_of_expiry_leaves_an_event(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as store, service_over(store) as service:
        service.clock.now = datetime(2020, 1, 1, tzinfo=UTC)
        service.register(subject=USER)
        service.create(subject=USER)
    known = changes(database_url)

    assert tickets(tmp_path, "jobs", "expire", TICKETS_DATABASE_URL=database_url).returncode == 0

    assert changes(database_url)[len(known) :] == [("TicketExpired", "anna", "tickets jobs expire")]


def test_a_delivery_leaves_an_event(database_url: str, tmp_path: Path) -> None:
    with minting(tmp_path, database_url) as mint, mail_server() as server:
        mint.create(USER)
        known = changes(database_url)
        with command(tmp_path, "deliver", **smtp(server, TICKETS_DATABASE_URL=database_url)):
            until(lambda: len(changes(database_url)) > len(known), "the delivery is recorded")

    assert changes(database_url)[len(known) :] == [("TicketDelivered", "anna", "tickets deliver")]


def test_the_record_of_users_of_release_1_0_leaves_an_event_for_each(
    database_url: str, tmp_path: Path
) -> None:
    with opened(database_url) as store, service_over(store) as service:
        service.register(subject=USER)
        as_release_1_0_wrote(store, USER)
    known = changes(database_url)

    assert tickets(tmp_path, "users", "record", TICKETS_DATABASE_URL=database_url).returncode == 0

    assert changes(database_url)[len(known) :] == [("UserChanged", "anna", operator())]


def parameters(group: Any) -> Iterator[Any]:
    """Yield the parameters of every command, each with its command."""
    if isinstance(group, TyperGroup):
        for inner in group.commands.values():
            yield from parameters(inner)
    else:
        yield from ((group, parameter) for parameter in group.params)


IDS = [
    pytest.param(*found, id=f"{found[0].name}-{found[1].name}")
    for found in parameters(typer.main.get_command(command_line()))
    if found[1].name in ("client", "clients", "user", "policy", "subscription")
]


@pytest.mark.parametrize(("of", "parameter"), IDS)
@pytest.mark.parametrize("text", ["", "x" * 51, "..", "a\n", "a\udcff"], ids=ascii)
def test_every_command_refuses_an_id_that_no_path_reaches(
    of: Any, parameter: Any, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = [text] if parameter.multiple else text

    with pytest.raises(SystemExit) as exit_:
        parameter.process_value(typer.Context(of), value)

    assert exit_.value.code == 2
    assert f"{parameter.opts[0]} {text!a}" in capsys.readouterr().err


def test_some_commands_take_an_id() -> None:
    assert len(IDS) == 20


@pytest.mark.parametrize(
    ("lines", "options", "status", "message"),
    [
        (['r-1,r1@example.com,"Ann', 'r-2,r2@example.com,"Bob"'], [], 1, "line 2: a quotation mark"),
        (["r-1,r1@example.com,Ann"], ["--client", ""], 2, "--client '' has 0 characters"),
        (["r-1,r1@example.com,Ann"], [], 0, ""),
    ],
)
def test_an_import_is_refused_with_the_line_or_the_option(
    tmp_path: Path, lines: list[str], options: list[str], status: int, message: str
) -> None:
    (tmp_path / "users.csv").write_text("\n".join(["userExtId,email,name", *lines, ""]))

    done = tickets(tmp_path, "users", "import", "users.csv", "--client", CLIENT, "--dry-run", *options)

    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
