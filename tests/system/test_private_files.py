"""The files that the service writes are its user's only, with any umask, and another user cannot stop it by them."""

import fcntl
import os
import resource
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from application.shared.errors import StoreUnavailable
from interface.outbound.files.cursor_file import CursorRefused, open_cursor
from interface.outbound.files.durable_file import locked_directory
from interface.outbound.sql.sqlite_backup import BackupRefused, write_backup
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.command import Command, command
from tests.support.server import serving, until

MODULE = "tests.support.without_umask"
DATABASE = "sqlite:///var/data/tickets.db"
CLIENT = "client-123"
ANOTHER_USER = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a file of another user")


def run(directory: Path, *arguments: str) -> None:
    done = Command(directory, *arguments, module=MODULE, TICKETS_DATABASE_URL=DATABASE)
    assert done.wait() == 0, done.err.read_text()


def open_to_others(*paths: Path) -> dict[str, str]:
    found = [inner for path in paths for inner in (path, *path.rglob("*"))]
    return {str(path): oct(path.stat().st_mode) for path in found if path.stat().st_mode & 0o077}


def test_every_file_is_private_without_a_umask(tmp_path: Path) -> None:
    copies = tmp_path / "outside" / "copies"
    settings = {"TICKETS_CHECKPOINT_DIR": str(copies), "TICKETS_CHECKPOINT_EVERY_EVENTS": "1"}
    (tmp_path / "old.zip").touch()
    (tmp_path / "old.zip").chmod(0o644)
    with serving(tmp_path, DATABASE, module=MODULE, **settings) as server:
        user = f"/{CLIENT}/users/user-1"
        server.client.put(user, json={"email": "a@example.com"}).raise_for_status()
        server.client.post(f"{user}/ticket").raise_for_status()
        until(lambda: list(tmp_path.glob("var/mail/*.eml")), "the mail is spooled")
        until(lambda: list(copies.glob("*.checkpoint")), "a checkpoint is copied")
        locks = {path.name for path in tmp_path.glob("var/data/*.lock")}
        assert {"tickets.db.serving.lock", "tickets.db.checkpoints.lock"} <= locks
        run(tmp_path, "backup", "copy.db")
        run(tmp_path, "evidence", "export", CLIENT, "-o", "new.zip")
        run(tmp_path, "evidence", "export", CLIENT, "-o", "old.zip")
        run(tmp_path, "templates", "render", "mail.html", "-o", "mail.html")
        follow = ("follow", CLIENT, "--cursor", "cursors/of/client")
        with command(tmp_path, *follow, module=MODULE, TICKETS_DATABASE_URL=DATABASE):
            until((tmp_path / "cursors" / "of" / "client").exists, "the cursor is stored")
        files = [tmp_path / name for name in ("copy.db", "new.zip", "old.zip", "mail.html")]
        directories = [tmp_path / name for name in ("var", "outside", "cursors")]
        assert open_to_others(*files, *directories) == {}


def test_a_server_names_the_directory_of_an_earlier_release_that_others_can_list(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir(mode=0o700)
    (tmp_path / "var").chmod(0o755)

    with serving(tmp_path, DATABASE) as server:
        assert "other users can list var, as release 1.0 created it: chmod 700 var" in server.log.read_text()


@pytest.mark.parametrize("name", ["tickets.db.serving.lock", "tickets.db.checkpoints.lock"])
def test_a_lock_that_others_can_open_is_made_private(tmp_path: Path, name: str) -> None:
    """Releases before 1.1 created some of them with the mode of the umask."""
    lock = tmp_path / name
    lock.touch()
    lock.chmod(0o644)

    with closing(SqliteStore(tmp_path / "tickets.db")) as store, store.lease("checkpoints") as held:
        assert held

    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


@needs_root
@pytest.mark.parametrize("name", ["tickets.db.serving.lock", "tickets.db.checkpoints.lock"])
def test_a_lock_of_another_user_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    """That user could hold it forever, and nothing would be signed."""
    (tmp_path / name).touch()
    os.chown(tmp_path / name, ANOTHER_USER, ANOTHER_USER)

    with pytest.raises(StoreUnavailable, match=f"belongs to another user.*: remove it.*{name}"):
        lease_of_checkpoints(tmp_path / "tickets.db")


@pytest.mark.parametrize("name", ["tickets.db.serving.lock", "tickets.db.checkpoints.lock"])
def test_a_link_instead_of_a_lock_is_refused_and_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreUnavailable, match=f"is a symbolic link: remove it.*{name}"):
        lease_of_checkpoints(tmp_path / "tickets.db")

    assert not (tmp_path / "elsewhere").exists()


def lease_of_checkpoints(path: Path) -> None:
    with closing(SqliteStore(path)) as store, store.lease("checkpoints"):
        pass


def test_a_link_instead_of_the_lock_of_a_cursor_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".cursor.lock").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("content")

    with pytest.raises(CursorRefused, match="is a symbolic link"), open_cursor(tmp_path / "cursor", "of"):
        pass

    assert (tmp_path / "elsewhere").read_text() == "content"


def test_a_link_instead_of_the_draft_of_a_backup_is_not_followed(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "tickets.db").close()
    (tmp_path / ".copy.db.draft").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("content")

    with pytest.raises(BackupRefused, match="is a symbolic link"):
        write_backup(tmp_path / "tickets.db", tmp_path / "copy.db", lambda *_: None, replace=False)

    assert (tmp_path / "elsewhere").read_text() == "content"


def test_a_lock_on_a_directory_that_others_can_read_stops_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with locked_directory(tmp_path):
            pass
    finally:
        os.close(descriptor)

    assert open_to_others(*tmp_path.iterdir()) == {}


def test_no_command_leaves_a_core_dump() -> None:
    """A core dump contains keys and tickets. Child processes inherit the limit."""
    script = (
        "import resource, sys; from interface import main; resource.setrlimit(resource.RLIMIT_CORE, {given});"
    )
    script += "sys.argv[1:] = ['--version']\ntry: main.main()\nfinally: print(resource.getrlimit(resource.RLIMIT_CORE))"
    given = resource.getrlimit(resource.RLIMIT_CORE)

    done = subprocess.run(
        [sys.executable, "-c", script.format(given=given)], capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines()[-1] == "(0, 0)", done.stderr
