"""What only the service may read is looked at before the start, and what to do about it is said."""

import os
from pathlib import Path

import pytest

from interface.outbound.private_files import too_open
from interface.settings import Settings, WrongSettings
from interface.wiring.service import secret_files, start


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key, private as the service makes them."""
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    path = directory / "some.key"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o660, 0o666, 0o644])
def test_a_file_that_others_may_read_or_write_is_named(key: Path, mode: int) -> None:
    key.chmod(mode)

    assert list(too_open([key])) == [f"others may read {key}: chmod 600 {key}"]


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777])
def test_a_directory_in_which_others_may_replace_a_key_is_named(key: Path, mode: int) -> None:
    key.parent.chmod(mode)

    assert list(too_open([key])) == [f"others may replace what is in {key.parent}: chmod 700 {key.parent}"]


def test_what_is_private_or_not_there_is_fine(key: Path) -> None:
    key.chmod(0o400)

    assert list(too_open([key, key.with_name("none")])) == []


def test_what_a_group_may_read_is_left_to_the_orchestrator_that_mounted_it(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.chmod(0o440)
    key.parent.chmod(0o750)
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)

    assert list(too_open([key])) == []


def test_what_others_may_read_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/var/tickets.db")
    start(settings).close()
    made = [path for path in secret_files(settings) if path.exists()]
    assert {path.suffix for path in made} == {".key", ".pem", ".db"}
    assert list(too_open(made)) == []

    for path in made:
        path.chmod(0o644)
        with pytest.raises(WrongSettings, match=rf"others may read .*{path.name}"):
            start(settings)
        path.chmod(0o600)
    start(settings).close()
