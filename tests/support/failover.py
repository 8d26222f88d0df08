"""Two real PostgreSQL servers, one of which is a synchronous standby with automatic failover: pg_auto_failover.

Its monitor decides, and a keeper beside each server executes the decisions. A server is killed together with its keeper, as
if its machine had lost its power.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support.server import until

# A failure is detected after about three seconds, by default after half a minute.
_IMPATIENT = """
pgautofailover.health_check_period = 500
pgautofailover.health_check_timeout = 500
pgautofailover.health_check_max_retries = 1
pgautofailover.health_check_retry_delay = 200
pgautofailover.node_considered_unhealthy_timeout = 1500
pgautofailover.primary_demote_timeout = 2000
pgautofailover.startup_grace_period = 1000
"""
_STATES = "SELECT nodename, reportedstate::text, goalstate::text FROM pgautofailover.node"
_BOTH = {("primary", "primary"), ("secondary", "secondary")}


def missing() -> str:
    """Return the missing programs; empty: all are installed."""
    if not shutil.which("pg_autoctl"):
        return "pg_autoctl is not here: apt-get install pg-auto-failover-cli"
    if not _binaries():
        return "no PostgreSQL here has pgautofailover: apt-get install postgresql-15-auto-failover"
    return ""


def _binaries() -> Path | None:
    extensions = sorted(Path("/usr/lib/postgresql").glob("*/lib/pgautofailover.so"))
    return extensions[-1].parents[1] / "bin" if extensions else None


class TwoServers:
    """The monitor and the two servers, `a` and `b`, in a separate directory.

    url: names both, and connects to the one that takes writes. read_url: connects to the other one, if it runs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = dict(zip(("monitor", "a", "b"), _free_ports(3), strict=True))
        self._keepers: dict[str, subprocess.Popen[bytes]] = {}
        self._monitor_url = f"postgres://autoctl_node@127.0.0.1:{self._ports['monitor']}/pg_auto_failover"
        hosts = f"127.0.0.1:{self._ports['a']},127.0.0.1:{self._ports['b']}"
        self.url = f"postgresql://postgres@{hosts}/tickets?target_session_attrs=read-write"
        self.read_url = self.url.replace("read-write", "prefer-standby")

    def start(self) -> None:
        """Make all three, and wait until one server stands by."""
        self._create("monitor", "monitor")
        with (self._directory / "monitor" / "postgresql.conf").open("a") as settings:
            settings.write(_IMPATIENT)
        self.run("monitor")
        until(self._monitor_answers, "the monitor answers")
        for name in ("a", "b"):
            node = ("--name", name, "--dbname", "tickets", "--username", "postgres")
            self._create("postgres", name, *node, "--monitor", self._monitor_url)
            self.run(name)
        self.wait_until_one_stands_by()

    def primary(self) -> str:
        """Return the name of the server that takes writes."""
        [name] = [name for name, state, _ in self._states() if state in ("primary", "wait_primary", "single")]
        return str(name)

    def kill(self, name: str) -> None:
        """Kill every process of a server and its keeper at the same time."""
        keeper = self._keepers.pop(name)
        for process in _tree(keeper.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        keeper.wait(30)

    def run(self, name: str) -> None:
        """Start a server and its keeper, or the monitor; after a kill it joins again by itself."""
        self._keepers[name] = self._command("run", "--pgdata", str(self._directory / name))

    def wait_until_one_stands_by(self) -> None:
        """Wait until every commit is on two servers again."""
        until(lambda: {(state, goal) for _, state, goal in self._states()} == _BOTH, "one stands by", 180)

    def close(self) -> None:
        """Kill all processes."""
        for name in list(self._keepers):
            self.kill(name)

    def _create(self, kind: str, name: str, *more: str) -> None:
        place = ("--pgdata", str(self._directory / name), "--pgport", str(self._ports[name]))
        network = ("--hostname", "127.0.0.1", "--auth", "trust", "--no-ssl")
        created = self._command("create", kind, *place, *network, *more)
        assert created.wait(60) == 0, (self._directory / "log").read_text()

    def _command(self, *arguments: str) -> subprocess.Popen[bytes]:
        binaries = _binaries()
        assert binaries
        environment = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(self._directory),
            "XDG_RUNTIME_DIR": str(self._directory),
            "LC_ALL": "C.UTF-8",
        }
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(
                ["pg_autoctl", *arguments],
                cwd=self._directory,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_who(),
            )

    def _monitor_answers(self) -> bool:
        with suppress(psycopg.Error):
            self._states()
            return True
        return False

    def _states(self) -> list[tuple[str, str, str]]:
        with psycopg.connect(self._monitor_url, connect_timeout=2) as monitor:
            return monitor.execute(_STATES).fetchall()


@contextmanager
def two_servers() -> Iterator[TwoServers]:
    """Yield two servers, one of which is the standby; they are killed at the end."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="tickets-failover-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        if user := _who().get("user"):
            shutil.chown(directory, user)
        servers = TwoServers(directory)
        stack.callback(servers.close)
        servers.start()
        yield servers


def _who() -> dict[str, Any]:
    """Return the user of the servers, since PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    postgres = pwd.getpwnam("postgres")
    return {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}


def _tree(process: int) -> list[int]:
    """Return a process and its descendants, which can have separate sessions."""
    children: dict[int, list[int]] = {}
    for found in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(found.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(found.parent.name))
    tree = [process]
    for one in tree:
        tree += children.get(one, [])
    return tree


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
