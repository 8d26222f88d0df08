"""File permissions are checked before the start, and findings come with a remedy."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from interface.composition.service import secret_files, start
from interface.outbound.keys.private_files import (
    listable_by_others,
    readable_by_others,
    writable_by_others,
    writable_directories,
)
from interface.settings import InvalidSettings, Settings


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key file, as the service creates it."""
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    path = directory / "some.key"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o660, 0o666, 0o644])
def test_a_file_that_others_can_read_or_write_is_reported(key: Path, mode: int) -> None:
    key.chmod(mode)

    assert list(readable_by_others([key])) == [f"other users can read {key}: chmod 600 {key}"]


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777])
def test_a_directory_in_which_others_can_replace_a_key_is_reported(key: Path, mode: int) -> None:
    key.parent.chmod(mode)

    assert list(readable_by_others([key])) == [
        f"other users can replace files in {key.parent}: chmod 700 {key.parent}"
    ]


def test_private_and_missing_files_are_accepted(key: Path) -> None:
    key.chmod(0o400)

    assert list(readable_by_others([key, key.with_name("none")])) == []


def test_group_permissions_of_mounted_secrets_are_accepted(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.chmod(0o440)
    key.parent.chmod(0o750)
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)

    assert list(readable_by_others([key])) == []


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_trusted_file_that_others_can_change_is_reported(key: Path, mode: int) -> None:
    key.chmod(mode)

    assert list(writable_by_others([key])) == [f"other users can change {key}: chmod go-w {key}"]


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777])
def test_a_trusted_file_that_others_can_replace_is_reported(key: Path, mode: int) -> None:
    key.parent.chmod(mode)

    assert list(writable_by_others([key])) == [
        f"other users can replace files in {key.parent}: chmod go-w {key.parent}"
    ]


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777])
def test_the_directory_of_each_target_of_a_link_is_checked(key: Path, tmp_path: Path, mode: int) -> None:
    between = tmp_path / "between"
    between.mkdir(mode=0o700)
    (between / "link").symlink_to(key)
    (tmp_path / "first").symlink_to("between/link")
    assert [*readable_by_others([tmp_path / "first"]), *writable_by_others([tmp_path / "first"])] == []

    for directory in (between, key.parent):
        directory.chmod(mode)
        assert list(readable_by_others([tmp_path / "first"])) == [
            f"other users can replace files in {directory}: chmod 700 {directory}"
        ]
        assert list(writable_by_others([tmp_path / "first"])) == [
            f"other users can replace files in {directory}: chmod go-w {directory}"
        ]
        directory.chmod(0o700)


def test_a_trusted_file_may_be_readable_by_all(key: Path) -> None:
    key.chmod(0o644)
    key.parent.chmod(0o755)

    assert list(writable_by_others([key, key.with_name("none")])) == []


def test_a_file_on_a_read_only_mount_is_accepted(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As orchestrators mount configuration files: as root, 0777.
    key.parent.chmod(0o777)
    assert len(list(writable_by_others([key]))) == 1
    known = os.statvfs(key)

    class ReadOnly:
        f_flag = known.f_flag | os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly)

    assert list(writable_by_others([key])) == []


@pytest.mark.parametrize(("mode", "is_open"), [(0o702, True), (0o720, True), (0o1777, True), (0o755, False)])
def test_a_directory_in_which_others_can_create_files_is_reported(
    tmp_path: Path, mode: int, is_open: bool
) -> None:
    mails = tmp_path / "mail"
    mails.mkdir()
    mails.chmod(mode)

    reported = [f"other users can create files in {mails}: chmod 700 {mails}"] if is_open else []
    assert list(writable_directories([mails, tmp_path / "none"])) == reported


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701])
def test_an_own_directory_that_others_can_list_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    var = tmp_path / "var"
    var.mkdir(mode=0o700)
    assert [*listable_by_others(var), *listable_by_others(tmp_path / "missing")] == []
    var.chmod(mode)

    [reported] = listable_by_others(var)
    assert reported.endswith(f": chmod 700 {var}")

    monkeypatch.setattr(os, "geteuid", lambda: var.stat().st_uid + 1)
    assert list(listable_by_others(var)) == []


def made(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_file_that_others_can_replace_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = made(tmp_path / "templates" / "_" / "en" / "mail.txt")
    trusted = [made(tmp_path / "trusted" / name) for name in ("mailer.jwk", "jwks.json", "ca.pem")]
    written = [tmp_path / "mail", tmp_path / "letters"]
    for directory in written:
        directory.mkdir(mode=0o755)
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/var/tickets.db",
        delivery_webhook_url="https://mailer.example/",
        delivery_webhook_key_file=trusted[0],
        delivery_webhook_secret=SecretStr("whsec_x"),
        jwks_file=trusted[1],
        token_issuer="issuer",
        token_audience="tickets",
        smtp_ca_file=trusted[2],
        template_dir=tmp_path / "templates",
        mail_dir=written[0],
        letter_dir=written[1],
    )
    start(settings).close()

    for path in [*trusted, *written, text, text.parent, tmp_path / "templates"]:
        mode = path.stat().st_mode
        path.chmod(0o777 if path.is_dir() else 0o666)
        with pytest.raises(InvalidSettings, match=rf"other users can (change|create files in) {path}: chmod"):
            start(settings)
        path.chmod(mode)
    start(settings).close()


def test_a_linked_template_that_others_can_replace_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = made(tmp_path / "templates" / "..v1" / "c1" / "en" / "mail.txt", "{{ ticket }}")
    (tmp_path / "templates" / "..data").symlink_to("..v1")
    (tmp_path / "templates" / "c1").symlink_to("..data/c1")
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/var/tickets.db", template_dir=tmp_path / "templates"
    )
    start(settings).close()

    for path in (text, text.parent, text.parents[1], text.parents[2], tmp_path / "templates"):
        mode = path.stat().st_mode
        path.chmod(0o777)
        with pytest.raises(InvalidSettings, match=r"other users can (change|replace files in) "):
            start(settings)
        path.chmod(mode)


def test_a_secret_file_that_others_can_read_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "secrets" / "of-others").chmod(0o644)
    secret = made(tmp_path / "secrets" / "tickets_metrics_token")
    settings = Settings(database_url=f"sqlite:///{tmp_path}/var/tickets.db", secrets_dir=tmp_path / "secrets")

    with pytest.raises(InvalidSettings, match=rf"other users can read {secret}: chmod 600 {secret}$"):
        start(settings)
    secret.chmod(0o400)
    start(settings).close()


def test_a_key_or_database_that_others_can_read_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/var/tickets.db")
    start(settings).close()
    there = [path for path in secret_files(settings) if path.exists()]
    assert {path.suffix for path in there} == {".key", ".pem", ".db"}
    assert list(readable_by_others(there)) == []

    for path in there:
        path.chmod(0o644)
        with pytest.raises(InvalidSettings, match=rf"other users can read .*{path.name}"):
            start(settings)
        path.chmod(0o600)
    start(settings).close()
