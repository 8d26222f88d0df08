"""`tickets doctor` reports each fault with a remedy, changes nothing and discloses no secret."""

import base64
import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from interface.cli.operations.commands import Finding, Health
from interface.composition.doctor import store as doctor_store
from interface.composition.http_app import http_app
from interface.composition.operations import examine
from interface.composition.service import start
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.sql import schema
from interface.settings import PREFIX, InvalidSettings, Settings
from tests.support.certificates import self_signed, server_context
from tests.support.command import tickets
from tests.support.evidence import open_store
from tests.support.files import files_in
from tests.support.mail_server import mail_server
from tests.support.receiver import answer, receiving
from tests.support.schemas import set_schema
from tests.support.service import service_over
from tests.support.standby import standing_by

PASSWORD = "s3cr3t-Pa55"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a service makes at its first start."""
    directory = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(directory)
        running = start(Settings())
        http_app(running)
        running.set_keys.key_set()
        running.close()
    return directory / "var"


@pytest.fixture
def set_up(made: Path, tmp_path: Path, sqlite_url: str) -> str:
    shutil.copytree(made, tmp_path / "var")
    return sqlite_url


def found(monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[Finding]:
    for name, text in settings.items():
        monkeypatch.setenv(PREFIX + name.upper(), text)
    findings = list(examine())
    shown = [PASSWORD in finding.found + finding.advice for finding in findings]
    assert not any(shown)
    assert all(finding.advice or finding.health is Health.GOOD for finding in findings)
    return findings


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.health is Health.BAD]


def only_bad(findings: list[Finding]) -> Finding:
    [finding] = bad(findings)
    return finding


def of(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def contents(directory: Path) -> Iterator[tuple[str, bytes, int]]:
    for path in sorted(directory.rglob("*")):
        # SQLite's files for reads during writes.
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".lock")):
            yield str(path), path.read_bytes(), path.stat().st_mode


@pytest.mark.usefixtures("set_up")
def test_a_sound_installation_has_no_findings(tmp_path: Path) -> None:
    with mail_server() as mails:
        done = tickets(tmp_path, "doctor", TICKETS_SMTP_URL=f"smtp+plain://127.0.0.1:{mails.port}")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nNo errors.\n")
    assert " bad " not in done.stdout
    assert "accepts the login" in done.stdout


@pytest.mark.usefixtures("set_up")
def test_a_fault_exits_with_1_and_fits_80_columns(tmp_path: Path) -> None:
    key = tmp_path / "var" / "keys" / "outbox.key"
    key.chmod(0o644)
    done = tickets(
        tmp_path, "doctor", COLUMNS="80", TICKETS_SMTP_URL=f"smtps://tickets:{PASSWORD}@127.0.0.1:1"
    )

    shown = PASSWORD in done.stdout + done.stderr
    assert not shown
    assert (done.returncode, done.stderr) == (1, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    text = " ".join(re.sub(r"[│|]", " ", done.stdout).split())
    assert "other users can read var/keys/outbox.key → chmod 600 var/keys/outbox.key" in text
    assert "cannot connect to the mail server → check TICKETS_SMTP_URL" in text
    assert done.stdout.endswith("\n2 bad, 0 warnings.\n")


def test_before_the_first_start_nothing_is_bad_or_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = found(monkeypatch)
    with mail_server() as mails:
        found(monkeypatch, smtp_url=f"smtp+plain://127.0.0.1:{mails.port}")

    assert bad(findings) == []
    warned = {finding.check for finding in findings if finding.health is Health.WARNING}
    assert warned == {"store", "outbox key", "token key", "security event key", "ledger key", "mail server"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("set_up")
def test_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "var" / "keys" / "ledger").glob("*.pem"):
        path.unlink()
    (tmp_path / "var" / "keys" / "set.pem").unlink()
    before = list(contents(tmp_path))
    findings = found(monkeypatch)

    assert bad(findings) == []
    assert list(contents(tmp_path)) == before


@pytest.mark.usefixtures("set_up")
def test_an_unusable_setting_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = only_bad(found(monkeypatch, max_batch="0"))

    assert finding.check == "settings"
    assert finding.found.startswith("TICKETS_MAX_BATCH: ")
    assert "docs/settings.md" in finding.advice


@pytest.mark.usefixtures("set_up")
def test_a_lock_file_that_the_service_refuses_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "var" / "tickets.db.push.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to("/dev/null")

    finding = only_bad(found(monkeypatch))

    assert (finding.check, finding.advice) == ("permissions", "remove it")
    assert "tickets.db.push.lock is a symbolic link" in finding.found


@pytest.mark.usefixtures("set_up")
@pytest.mark.parametrize("limit", ["banana", "5", "0/minute"])
def test_a_rate_limit_that_stops_the_start_is_reported(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    finding = only_bad(found(monkeypatch, rate_limit_per_client=limit))

    assert finding.found == "TICKETS_RATE_LIMIT_PER_CLIENT: must be a limit such as 600/minute, or off"


def test_an_unknown_setting_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TICKETS_DATABSE_URL: unknown setting" in only_bad(found(monkeypatch, databse_url="x")).found


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("outbox.key", "outbox key"),
        ("token.pem", "token key"),
        ("set.pem", "security event key"),
        ("ledger", "ledger key"),
    ],
)
@pytest.mark.usefixtures("set_up")
def test_a_broken_or_missing_key_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, check: str
) -> None:
    path = tmp_path / "var" / "keys" / name
    if path.is_dir():
        [path] = path.glob("*.pem")
    path.write_bytes(PASSWORD.encode())
    broken = only_bad(found(monkeypatch))
    path.unlink()
    [missing] = of(found(monkeypatch), check)

    assert (broken.check, broken.advice) == (check, "restore the key from your backup")
    assert missing.health is Health.WARNING
    assert "restore it from your backup first" in missing.advice
    assert not path.exists()


@pytest.mark.parametrize("name", ["ledger.pem", "20261325T000000Z.pem"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
@pytest.mark.usefixtures("set_up")
def test_a_ledger_key_with_an_invalid_name_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, beside: bool
) -> None:
    directory = tmp_path / "var" / "keys" / "ledger"
    [key] = directory.glob("*.pem")
    strange = directory / name
    strange.write_bytes(key.read_bytes())
    strange.chmod(0o600)
    if not beside:
        key.unlink()
    before = list(contents(tmp_path))

    finding = only_bad(found(monkeypatch))
    with pytest.raises(InvalidSettings, match="is not a creation time such as"):
        start(Settings())

    assert finding.check == "ledger key"
    assert finding.found.startswith(f"the name of var/keys/ledger/{name} is not a creation time")
    assert "rename or remove" in finding.advice
    assert list(contents(tmp_path)) == before


@pytest.mark.usefixtures("set_up")
def test_no_command_creates_a_key_beside_one_with_an_invalid_name(tmp_path: Path) -> None:
    strange = tmp_path / "var" / "keys" / "ledger" / "ledger.pem"
    next(strange.parent.glob("*.pem")).rename(strange)

    done = tickets(tmp_path, "keys", "rotate")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("tickets: the name of var/keys/ledger/ledger.pem is not a")
    assert files_in(strange.parent) == [strange]


@pytest.mark.usefixtures("set_up")
def test_a_key_command_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only_bad(found(monkeypatch, outbox_key_command="false")).check == "outbox key"
    assert only_bad(found(monkeypatch, outbox_key_command=f"echo {PASSWORD}")).check == "outbox key"
    key = base64.b64encode(bytes(32)).decode()
    assert bad(found(monkeypatch, outbox_key_command=f"echo {key}")) == []


@pytest.mark.usefixtures("set_up")
def test_the_keys_of_a_token_issuer_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jwks.json"
    path.write_text("{}")
    issuer = {"jwks_file": str(path), "token_issuer": "idp", "token_audience": "tickets"}

    assert only_bad(found(monkeypatch, **issuer)).check == "token issuer"

    [good] = SetKeys(Path("var/keys/set.pem")).key_set()["keys"]
    path.write_text(json.dumps({"keys": [good, {**good, "use": "enc", "kid": "enc-1"}]}))
    [finding] = of(found(monkeypatch, **issuer), "token issuer")
    assert finding.health is Health.WARNING
    assert finding.found.startswith("1 keys; key 'enc-1' (thumbprint ")

    path.write_text(json.dumps({"keys": [{**good, "use": "enc"}]}))
    assert only_bad(found(monkeypatch, **issuer)).check == "token issuer"


@pytest.mark.usefixtures("set_up")
def test_the_keys_of_a_token_issuer_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = {"token_issuer": "idp", "token_audience": "tickets"}
    key_set = json.dumps(SetKeys(Path("var/keys/set.pem")).key_set()).encode()
    with receiving(
        lambda request: answer(200, body=key_set if request.path == "/keys" else b"<html>")
    ) as server:
        good = found(monkeypatch, jwks_url=server.url("/keys"), **issuer)
        no_keys = only_bad(found(monkeypatch, jwks_url=server.url("/page")))
    gone = only_bad(found(monkeypatch))

    assert bad(good) == []
    assert [finding.found for finding in of(good, "token issuer")] == ["1 keys"]
    assert no_keys.check == gone.check == "token issuer"
    assert "TICKETS_JWKS_URL" in gone.advice


@pytest.mark.parametrize(
    ("path", "mode", "reported", "advice"),
    [
        (
            "var/keys/outbox.key",
            0o644,
            "other users can read var/keys/outbox.key",
            "chmod 600 var/keys/outbox.key",
        ),
        ("var/tickets.db", 0o660, "other users can read", "chmod 600"),
        (
            "var/keys/ledger",
            0o777,
            "other users can replace files in var/keys/ledger",
            "chmod 700 var/keys/ledger",
        ),
    ],
)
@pytest.mark.usefixtures("set_up")
def test_files_that_others_can_read_or_replace_are_reported(
    monkeypatch: pytest.MonkeyPatch, path: str, mode: int, reported: str, advice: str
) -> None:
    Path(path).chmod(mode)

    finding = only_bad(found(monkeypatch))

    assert finding.check == "permissions"
    assert finding.found.startswith(reported)
    assert finding.advice.startswith(advice)


@pytest.mark.usefixtures("set_up")
def test_a_directory_of_an_earlier_release_that_others_can_list_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("var").chmod(0o755)

    warned, _ = of(found(monkeypatch), "permissions")

    assert (warned.health, warned.advice) == (Health.WARNING, "chmod 700 var")


@pytest.mark.usefixtures("set_up")
def test_a_file_that_is_no_database_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "var" / "tickets.db").write_bytes(b"x" * 5000)

    finding = only_bad(found(monkeypatch))

    assert (finding.check, "TICKETS_DATABASE_URL" in finding.advice) == ("store", True)


@pytest.mark.parametrize(
    ("steps", "health", "advice"),
    [(2, Health.BAD, "upgrade the program"), (-1, Health.WARNING, "make a backup first")],
)
def test_an_unusable_schema_is_reported_and_unchanged(
    set_up: str, monkeypatch: pytest.MonkeyPatch, steps: int, health: Health, advice: str
) -> None:
    version = len(schema.SQLITE) + steps
    set_schema(set_up, version, version)

    finding, *_ = of(found(monkeypatch), "store")

    assert finding.health is health
    assert f"schema version {version}" in finding.found
    assert advice in finding.advice
    with closing(sqlite3.connect(set_up.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)


@pytest.mark.usefixtures("set_up")
def test_a_postgresql_without_migration_is_reported_and_passes_after_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = only_bad(found(monkeypatch, database_url=postgres_url))
    open_store(postgres_url).close()
    after = found(monkeypatch)

    assert "run `tickets migrate`" in before.found + before.advice
    assert bad(after) == []
    assert [finding.health for finding in of(after, "store") + of(after, "clock")] == [Health.GOOD] * 2


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://tickets:{PASSWORD}@127.0.0.1:1/tickets",
        f"postgresql://tickets:{PASSWORD}/x@127.0.0.1/tickets",
        f"postgresql://tickets:x@{PASSWORD}@127.0.0.1:1/tickets",
        f"postgresql://tickets:x:{PASSWORD}@127.0.0.1:1/tickets",
        f"postgresql://tickets:x%zz{PASSWORD}@127.0.0.1:1/tickets",
        f"postgresql://tickets@127.0.0.1:1/tickets?password={PASSWORD}&{PASSWORD}",
    ],
)
@pytest.mark.usefixtures("set_up")
def test_an_unreachable_postgresql_is_reported_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    finding = only_bad(found(monkeypatch, database_url=url))

    assert (finding.check, "TICKETS_DATABASE_URL" in finding.advice) == ("store", True)


@pytest.mark.usefixtures("set_up")
def test_a_clock_that_differs_from_the_clock_of_the_database_is_reported(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(postgres_url).close()
    for wrong_by in (timedelta(minutes=-5), timedelta(minutes=5)):

        class Wrong(datetime):
            @classmethod
            def now(cls, tz: object = None, wrong_by: timedelta = wrong_by) -> datetime:  # type: ignore[override]
                assert tz is UTC
                return datetime.now(UTC) + wrong_by

        monkeypatch.setattr(doctor_store, "datetime", Wrong)
        finding = only_bad(found(monkeypatch, database_url=postgres_url))
        assert finding.check == "clock"
        assert re.fullmatch(r"(299|300|301) s from the database's", finding.found)
        assert "NTP" in finding.advice
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM ticket_events").fetchone() == (0,)


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_a_clock_before_the_newest_event_is_reported(
    set_up: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    url = set_up if kind == "SQLite" else postgres_url
    with closing(open_store(url)) as store, service_over(store) as service:
        service.clock.now = datetime.now(UTC)
        service.register()
        now = found(monkeypatch, database_url=url)
        service.clock.advance(timedelta(hours=1))
        service.create()
        behind = found(monkeypatch)

    [good], [finding] = of(now, "clock"), of(behind, "clock")
    assert good.health is Health.GOOD
    # Not bad: the clock may have been wrong at that time, which cannot be corrected.
    assert finding.health is Health.WARNING
    assert re.match(r"3[56]\d\d s before the newest event", finding.found)
    assert "NTP" in finding.advice


@pytest.mark.parametrize(
    "state", ["{", "[]", '{"timestamp": 7}', '{"timestamp": "9999-12-31T23:59:59-14:00"}']
)
def test_an_event_that_was_changed_is_left_to_the_check_of_the_record(
    set_up: str, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    with closing(open_store(set_up)) as store, service_over(store) as service:
        service.register()
    with closing(sqlite3.connect(set_up.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE ticket_events SET state = ?", (state.encode(),))

    [finding] = of(found(monkeypatch), "clock")

    assert finding.health is Health.GOOD


@pytest.mark.usefixtures("set_up")
def test_the_status_of_a_standby_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        standing_by() as standby,
        standby.fresh_database() as (url, read_url),
        closing(open_store(url)) as store,
    ):
        standby.catch_up()
        level = found(monkeypatch, database_url=url, read_database_url=read_url)
        with standby.replay_paused(), service_over(store) as service:
            service.register()
            behind = found(monkeypatch)
        other = found(monkeypatch, read_database_url=url)
        nowhere = f"postgresql://tickets:{PASSWORD}@127.0.0.1:1/tickets"
        gone = only_bad(found(monkeypatch, read_database_url=nowhere))
        elsewhere = re.sub(r"/tickets_\w+", "/postgres", read_url)
        empty = only_bad(found(monkeypatch, read_database_url=elsewhere))

    assert bad(level) == bad(behind) == bad(other) == []
    reported = [of(findings, "standby")[0] for findings in (level, behind, other)]
    assert [finding.health for finding in reported] == [Health.GOOD, Health.WARNING, Health.WARNING]
    assert reported[0].found == "reachable, and equal to the primary"
    assert re.fullmatch(r"\d+ bytes behind the primary", reported[1].found)
    assert reported[2].found == "is not a standby: it accepts writes"
    assert gone.check == empty.check == "standby"
    assert "TICKETS_READ_DATABASE_URL" in gone.advice
    assert empty.found == "has no tables of the service"


def test_an_invalid_url_of_a_standby_stops_every_start_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://tickets:{PASSWORD}@x@127.0.0.1/t"
    unreadable = "TICKETS_READ_DATABASE_URL: the URL is invalid"
    primary = "postgresql://127.0.0.1:1/t"
    for wrong in (url, f"postgresql://127.0.0.1/t?{PASSWORD}=1"):
        finding = only_bad(found(monkeypatch, database_url=primary, read_database_url=wrong))
        assert (finding.check, finding.found.startswith(unreadable)) == ("settings", True)
    done = tickets(
        tmp_path, "serve", "--port", "1", TICKETS_DATABASE_URL=primary, TICKETS_READ_DATABASE_URL=url
    )

    shown = PASSWORD in done.stdout + done.stderr
    assert not shown
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"tickets: {unreadable}")


def test_a_store_that_never_read_from_the_standby_closes_without_connecting(postgres_url: str) -> None:
    open_store(postgres_url).close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"postgresql://t@127.0.0.1:{port}/t"
        start(Settings(database_url=postgres_url, read_database_url=url)).close()
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.usefixtures("set_up")
def test_unusable_texts_and_directories_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "templates" / "_" / "en"
    own.mkdir(parents=True)
    (own / "mail.txt").write_text("{{ nme }}")
    faulty = found(monkeypatch, template_dir="templates")
    missing = only_bad(found(monkeypatch, template_dir="nowhere"))
    monkeypatch.delenv("TICKETS_TEMPLATE_DIR")
    unwritable = found(
        monkeypatch, letter_dir="/proc/none", mail_dir="/proc/neither", checkpoint_dir="/proc/nor"
    )

    assert {finding.advice for finding in bad(faulty)} == {"tickets templates check"}
    assert (missing.found, missing.advice) == (
        "TICKETS_TEMPLATE_DIR nowhere is not a directory",
        "correct the setting",
    )
    reported = [(finding.check, finding.found.partition(":")[0]) for finding in bad(unwritable)]
    assert reported == [
        ("checkpoint directory", "/proc/nor"),
        ("letter directory", "/proc/none"),
        ("mail directory", "/proc/neither"),
    ]
    assert all(f"uid {os.geteuid()}" in finding.advice for finding in bad(unwritable))


@pytest.mark.parametrize(
    "setting",
    [
        {"mail_from": "a@b.ch, c@d.ch"},
        {"smtp_url": f"smtp://tickets:{PASSWORD}@"},
        {"smtp_url": f"smtp://tickets:{PASSWORD}/x@mail.example"},
        {"smtp_url": "smtps://mail.example", "smtp_ca_file": "none.pem"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("set_up")
def test_unusable_mail_settings_are_reported(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, str]
) -> None:
    finding = only_bad(found(monkeypatch, **setting))

    assert finding.check == "delivery"
    assert finding.found.startswith("TICKETS_")
    assert finding.advice == "correct the setting"


@pytest.mark.usefixtures("set_up")
def test_a_mail_server_that_refuses_the_login_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "mail.pem")
    ours = {"smtp_ca_file": str(certificate)}
    with mail_server(starttls=server_context(certificate), login=("tickets", PASSWORD)) as mails:
        good = f"smtp://tickets:{PASSWORD}@localhost:{mails.port}"
        untrusted = only_bad(found(monkeypatch, smtp_url=good))
        let_in = found(monkeypatch, smtp_url=good, **ours)
        refused = only_bad(found(monkeypatch, smtp_url=f"smtp://tickets:{PASSWORD}x@localhost:{mails.port}"))
    gone = only_bad(found(monkeypatch, smtp_url=good))

    assert bad(let_in) == []
    assert untrusted.found.startswith("the mail server's certificate was rejected")
    assert refused.found == "the mail server responded with 535 to AUTH"
    assert gone.found == "cannot connect to the mail server"
    assert {finding.check for finding in (untrusted, refused, gone)} == {"mail server"}
    assert len({untrusted.advice, refused.advice, gone.advice}) == 1
    assert "TICKETS_SMTP_URL" in gone.advice
