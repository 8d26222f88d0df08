"""10,000 concurrent connections, and more than the limit of open files: others are served, and all are released afterwards."""

import resource
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from tests.support.load import tracebacks, under_load
from tests.support.server import serving, until
from tests.support.sockets import connect, connections, head, memory, open_files, processes

QUICK: Any = {"TICKETS_DELIVERY_RETRY_SECONDS": "0.5", "TICKETS_DELIVERY_LEASE_SECONDS": "2"}
MANY = 10_000
ACTIVE = 2_000
MEGABYTE = 1 << 20
MOST_MEMORY = 400 * MEGABYTE
USER = "/client-123/users/user-0"


def test_ten_thousand_connections_leave_room_for_others_and_are_closed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/var/tickets.db"
    # Longer than it takes to open them all on a busy machine.
    patience = {"TICKETS_REQUEST_PATIENCE_SECONDS": "60"}
    with ExitStack() as stack:
        # The default limit of a shell.
        with open_files(1024):
            server = stack.enter_context(serving(tmp_path, url, **patience))
        stack.enter_context(open_files(MANY + 1000))
        load = stack.enter_context(under_load(server))
        before = memory(server)

        with ExitStack() as opened:
            many = [opened.enter_context(connect(server)) for _ in range(MANY)]
            request = head(server, "GET", f"{USER}/ticket")
            for active in many[:ACTIVE]:
                active.sendall(request)
            answers = [active.recv(65536) for active in many[:ACTIVE]]
            while_they_wait = load.answers_again(time.monotonic())
            # An idle connection is closed five seconds after its last request.
            assert connections(server) > MANY - ACTIVE
            grown = memory(server) - before
        until(lambda: connections(server) < MANY / 100, "they are released")
        load.stop()
        load.report(f"{MANY} connections, {grown / MEGABYTE:.0f} MB", [while_they_wait])
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
        assert grown < MOST_MEMORY
        assert not tracebacks(server)


def test_more_connections_than_files_cost_nothing_once_they_are_closed(
    sqlite_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, sqlite_url, **QUICK) as server, under_load(server) as load:
        [process] = processes(server)
        most = process.num_fds() + 50
        process.rlimit(psutil.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(connect(server))
            time.sleep(2)
        recovery = load.answers_again(time.monotonic())
        load.ready_again(time.monotonic())
        load.stop()
        load.report("no file descriptors", [recovery])
        load.assert_that_it_was_bearable()
        load.assert_nothing_lost()
        assert not tracebacks(server)
