"""The kernel makes the file system read-only: nothing is lost, and the service recovers once it is repaired.

As it does after an error; the file system stays read-only until it is unmounted, so the service is restarted, as by
systemd.
"""

import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.command import tickets
from tests.support.disks import breakable_disk
from tests.support.load import Load, tracebacks, under_load
from tests.support.server import serving

QUICK: Any = {"TICKETS_DELIVERY_RETRY_SECONDS": "0.5", "TICKETS_DELIVERY_LEASE_SECONDS": "2"}
RECOVERS_WITHIN_SECONDS = 15


def test_a_file_system_that_turns_read_only_loses_no_confirmed_reset(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/var/tickets.db"
    with breakable_disk(tmp_path, tmp_path / "var") as disk, serving(tmp_path, url, **QUICK) as server:
        with under_load(server) as load:
            disk.break_it()
            load.refused(time.monotonic())
            time.sleep(1)
            assert reads_succeed(load)

            # A server listens before it opens the store.
            address = ("--host", "127.0.0.2", "--port", str(server.port))
            restarted = tickets(tmp_path, "serve", *address, TICKETS_DATABASE_URL=url)

            load.moving = True
            assert server.stop() == 0
            disk.repair()
            repaired = time.monotonic()
            with serving(tmp_path, url, port=server.port, **QUICK) as again:
                recovery = load.answers_again(repaired)
                load.stop()
                load.report("read-only file system", [recovery])
                load.assert_that_it_was_bearable()
                load.assert_nothing_lost()
                assert recovery < RECOVERS_WITHIN_SECONDS
                assert not tracebacks(again)
        assert restarted.returncode not in (0, None)
        assert "Read-only file system" in restarted.stderr
        assert "Traceback" not in restarted.stderr


def reads_succeed(load: Load) -> bool:
    """Return whether stored data can be read."""
    return load.server.client.get("/client-123/users/user-0/ticket").status_code == httpx.codes.OK
