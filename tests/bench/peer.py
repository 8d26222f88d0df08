"""privacyIDEA's re-issue of a registration code and its check, beside a reset and a verification. Run by `make bench-peer`.

The first run installs privacyIDEA and gunicorn in an environment beside the one of this service, var/bench/peer. Both
services take the same load alternately, in one run: privacyIDEA by gunicorn with two workers, this service by one process;
both on SQLite, then both on the same PostgreSQL. privacyIDEA runs a second time with the options that its manual offers for
speed: they show that a ratio does not depend on its defaults.

- re-issue: `POST /token/init` of an administrator for an existing token of type `registration`, a new code each time.
- validate: `POST /validate/check` of a user with the right code of a token of type `pw`: the class of a registration code,
  but the code remains valid, as a ticket of the measured policy does.
- validate once: the same with registration codes. privacyIDEA deletes the token with the code's first use, so that each code
  is sent once.

An answer counts only if it is recorded as a success in privacyIDEA's audit table. Prints tables, and writes all figures to
var/bench/peer.json.
"""

import argparse
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.bench import load
from tests.bench.load import Request
from tests.bench.results import Results, progress
from tests.bench.stage import STORES, Stage, _cpu_of, environment, staged
from tests.support.postgres import fresh_database
from tests.support.server import PATIENCE_SECONDS, until

RESULT = Path("var/bench/peer.json")
HOME = Path(__file__).parents[2] / "var/bench/peer"
_KEYS = HOME / "keys"
_FILES = Path(__file__).with_name("privacyidea")
_APP = "privacyidea.app:create_app(config_name='production', config_file='{}')"
_OPTIONS = {
    "PI_AUDIT_NO_PRIVATE_KEY_CHECK": "true",
    "PI_RESPONSE_NO_PRIVATE_KEY_CHECK": "true",
    "PI_ENGINE_REGISTRY_CLASS": '"shared"',
}
_USERS = 2000
# The users with a token, of each type: a load returns to the first one no earlier than after as many requests.
_TOKENS = 200
_IDLE_SECONDS = 0.02
# An operation of this service, its peer, the peer's route and the bound of the ratio of their throughputs for each store.
PAIRS = {"reset": "re-issue", "verify": "validate"}
_ROUTES = {"re-issue": "/token/init", "validate": "/validate/check", "validate once": "/validate/check"}
_BOUNDS = {"SQLite": 100, "PostgreSQL": 80}


@dataclass(frozen=True)
class Size:
    """The size of a run. seconds: of each load; tokens: of each type; with_options: whether to measure these, too."""

    seconds: float = 4
    rounds: int = 3
    connections: tuple[int, ...] = (2, 64)  # the fewest: one for each worker of gunicorn
    tokens: int = _TOKENS
    with_options: bool = True


TINY = Size(seconds=0.5, rounds=1, connections=(2,), tokens=4, with_options=False)
console = Console(width=None if sys.stdout.isatty() else 140)


def is_installed() -> bool:
    """Return whether the environment of privacyIDEA is complete, and of the pinned versions."""
    stamp = HOME / "requirements.txt"
    return stamp.exists() and stamp.read_text() == (_FILES / "requirements.txt").read_text()


def install() -> None:
    """Make the environment of privacyIDEA and its keys, if they do not exist. Raises CalledProcessError if a step fails."""
    if is_installed():
        return
    progress.print(f"installing privacyIDEA in {HOME}")
    shutil.rmtree(HOME, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    requirements = _FILES / "requirements.txt"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, HOME], check=True)
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            HOME / "bin/python",
            "-r",
            requirements,
        ],
        check=True,
    )
    _KEYS.mkdir()
    for step in ("create_enckey", "create_audit_keys"):
        _manage(_KEYS, "sqlite://", "setup", step)
    # Written last, so that an interrupted installation is repeated.
    shutil.copy(requirements, HOME)


def _environment(directory: Path, url: str) -> dict[str, str]:
    return os.environ | {
        "PEER_DIRECTORY": str(directory),
        "PEER_KEYS": str(_KEYS),
        "PEER_DATABASE_URL": url,
        "PRIVACYIDEA_CONFIGFILE": str(_FILES / "pi.cfg"),
    }


def _manage(directory: Path, url: str, *arguments: str, given: str = "") -> None:
    done = subprocess.run(
        [str(HOME / "bin/pi-manage"), *arguments],
        env=_environment(directory, url),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pi-manage {arguments[0]} {arguments[1]} failed: {done.stdout}{done.stderr}")


@dataclass(frozen=True)
class Peer:
    """A running privacyIDEA. database: the processes of its database if they are separate."""

    name: str
    url: str
    directory: Path
    process: psutil.Process
    database: psutil.Process | None
    client: httpx.Client

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Return the response. Raises RuntimeError if privacyIDEA refuses the request."""
        answer: dict[str, Any] = self.client.post(path, json=body).json()
        if not answer["result"]["status"]:
            raise RuntimeError(f"privacyIDEA refuses {path}: {answer['result']['error']}")
        return answer

    def enroll(self, kind: str, users: Iterable[int]) -> dict[int, str]:
        """Issue a token of a type, pw or registration, to each user, or again. Returns the codes by user."""

        def code(user: int) -> str:
            answer = self.post("/token/init", type=kind, user=f"user-{user}", serial=f"{kind}-{user}")
            return str(answer["detail"]["registrationcode" if kind == "registration" else "password"])

        with ThreadPoolExecutor(2) as threads:
            return dict(zip(users, threads.map(code, users), strict=True))

    def measure(
        self, operation: str, requests: list[Request], connections: int, seconds: float
    ) -> dict[str, Any]:
        """Load one operation. Raises RuntimeError if a response is an error or no success."""
        successes, cpu = self._successes(operation), self._cpu()
        token = self.client.headers["PI-Authorization"]
        url = str(self.client.base_url)
        figures = load.send(url, token, requests, self.directory, connections=connections, seconds=seconds)
        self._settle()
        found = self._successes(operation) - successes
        if figures.errors or found < figures.answered:
            raise RuntimeError(
                f"privacyIDEA, {operation}: {figures.answered} answers, {figures.errors} errors, {found} successes"
            )
        return {
            "service": self.name,
            "operation": operation,
            **asdict(figures),
            "per_second": round(figures.per_second, 2),
            "cpu_us": round((self._cpu() - cpu) / found * 1e6),
        }

    def _successes(self, operation: str) -> int:
        statement = (
            f"SELECT count(*) FROM pidea_audit WHERE success = 1 AND action = 'POST {_ROUTES[operation]}'"
        )
        return int(_query(self.url, statement)[0][0])

    def _cpu(self) -> float:
        return _cpu_of(self.process) + (_cpu_of(self.database) if self.database else 0.0)

    def _settle(self) -> None:
        # wrk abandons its last requests; they must not affect the next measurement.
        busy = True
        while busy:
            before = self._cpu()
            time.sleep(0.2)
            busy = self._cpu() - before > _IDLE_SECONDS


def _query(url: str, statement: str) -> list[Any]:
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=PATIENCE_SECONDS)) as connection:
            return connection.execute(statement).fetchall()
    with psycopg.connect(url) as postgres:
        return postgres.execute(statement.encode()).fetchall()


@contextmanager
def peers(stage: Stage, size: Size) -> Iterator[list[Peer]]:
    """Yield privacyIDEA on a new store beside the one of this service, with its defaults and with options for speed."""
    with ExitStack() as stack:
        if stage.store == "SQLite":
            url = f"sqlite:///{stage.directory}/privacyidea.sqlite"
        else:
            url = stack.enter_context(fresh_database(stage.url))
        _manage(stage.directory, url, "setup", "create_tables")
        _manage(stage.directory, url, "admin", "add", "admin", "--password", "admin")
        _manage(stage.directory, url, "config", "import", given=_users(stage, url))
        running = [stack.enter_context(_running("privacyIDEA", stage, url))]
        if size.with_options:
            running.append(stack.enter_context(_running("privacyIDEA, options", stage, url, _OPTIONS)))
        yield running


@contextmanager
def _running(name: str, stage: Stage, url: str, options: dict[str, str] | None = None) -> Iterator[Peer]:
    directory = stage.directory / name.replace(", ", "-")
    directory.mkdir()
    log = directory / "gunicorn.log"
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    command = [str(HOME / "bin/gunicorn"), "--config", str(_FILES / "gunicorn.conf.py"), "--bind", address]
    variables = {f"PRIVACYIDEA_{key}": value for key, value in (options or {}).items()}
    with (
        log.open("w") as out,
        httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_SECONDS, trust_env=False) as client,
    ):
        process = subprocess.Popen(
            [*command, _APP.format(_FILES / "pi.cfg")],
            env=_environment(directory, url) | variables,
            cwd=directory,
            stdout=out,
            stderr=out,
        )

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(httpx.TransportError):
                return client.get("/healthz/livez").is_success
            return False

        try:
            until(answers, "privacyIDEA answers")
            peer = Peer(name, url, directory, psutil.Process(process.pid), stage.database, client)
            answer = peer.post("/auth", username="admin", password="admin")
            client.headers["PI-Authorization"] = answer["result"]["value"]["token"]
            yield peer
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _users(stage: Stage, url: str) -> str:
    """Create a table of users in the same kind of database. Returns the resolver and the realm for it, as JSON."""
    rows = [
        (number + 1, f"user-{number}") for number in range(_USERS)
    ]  # privacyIDEA finds no user of the id 0
    table = "CREATE TABLE bank_users (id INTEGER PRIMARY KEY, username VARCHAR(64) NOT NULL UNIQUE)"
    if stage.store == "SQLite":
        file = stage.directory / "users.sqlite"
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(table)
            connection.executemany("INSERT INTO bank_users VALUES (?, ?)", rows)
        where = {"Driver": "sqlite", "Server": "", "Database": str(file)}
    else:
        with psycopg.connect(url) as postgres, postgres.cursor() as cursor:
            cursor.execute(table)
            cursor.executemany("INSERT INTO bank_users VALUES (%s, %s)", rows)
        parts = urlsplit(url)
        where = {
            "Driver": "postgresql",
            "Server": "",
            "User": parts.username or "",
            "Password": parts.password or "",
            "Database": parts.path.removeprefix("/"),
            "conParams": parts.query,
        }
    data = {"Table": "bank_users", "Map": '{"userid": "id", "username": "username"}', **where}
    resolver = {"name": "users", "type": "sqlresolver", "priority": None, "node": ""}
    return json.dumps(
        {
            "resolver": {"users": {"resolvername": "users", "type": "sqlresolver", "data": data}},
            "realm": {"bank": {"default": True, "resolver": [resolver]}},
        }
    )


def re_issues(users: Iterable[int]) -> list[Request]:
    """Return a request of an administrator for a new registration code of each user."""
    bodies = (
        {"type": "registration", "user": f"user-{user}", "serial": f"registration-{user}"} for user in users
    )
    return [Request("POST", "/token/init", json.dumps(body)) for body in bodies]


def validations(codes: dict[int, str]) -> list[Request]:
    """Return a check of the code of each user."""
    bodies = ({"user": f"user-{user}", "pass": code} for user, code in codes.items())
    return [Request("POST", "/validate/check", json.dumps(body)) for body in bodies]


def compare(store: str, size: Size, results: Results) -> None:
    """Measure both services on one kind of store, alternately."""
    with staged(store) as stage, peers(stage, size) as running:
        progress.print(f"{store}: issuing {2 * size.tokens} tokens")
        users = range(size.tokens)
        running[-1].enroll("registration", users)
        requests = {
            "re-issue": re_issues(users),
            "validate": validations(running[-1].enroll("pw", range(size.tokens, 2 * size.tokens))),
        }
        for connections in size.connections:
            for turn in range(size.rounds):
                _round(stage, running, requests, connections, turn, size, results)
    most = max(size.connections)
    for mine, theirs in PAIRS.items():
        ratio = _ratio(results, store, mine, theirs, most)
        results.target(
            f"{store}, {most} connections: {mine} / {theirs}", ratio, _BOUNDS[store], at_most=False
        )


def _round(
    stage: Stage,
    running: list[Peer],
    requests: dict[str, list[Request]],
    connections: int,
    turn: int,
    size: Size,
    results: Results,
) -> None:
    """Measure every operation of every service once."""

    def record(figures: dict[str, Any]) -> float:
        results.figures.append({"part": "peer", **figures, "store": stage.store, "connections": connections})
        return float(figures["per_second"])

    progress.print(f"{stage.store}: {connections} connections, round {turn + 1}")
    for mine, theirs in PAIRS.items():
        figures = stage.measure(mine, connections, size.seconds)
        if figures["errors"]:
            raise RuntimeError(f"{mine}: {figures['errors']} responses are errors")
        cpu = (figures["server_cpu"] + figures["database_cpu"]) * figures["seconds"] / figures["answered"]
        record({**figures, "service": "this service", "cpu_us": round(cpu * 1e6)})
        for peer in running:
            speed = record(peer.measure(theirs, requests[theirs], connections, size.seconds))
    if connections == min(size.connections):
        # More codes than the load can use, each once, of users without another token.
        first = 2 * size.tokens
        codes = running[-1].enroll("registration", range(first, first + int(3 * speed * size.seconds) + 20))
        record(running[0].measure("validate once", validations(codes), connections, size.seconds))


def _of(results: Results, store: str, service: str, operation: str, connections: int) -> list[dict[str, Any]]:
    return [one for one in results.of(store, operation, connections, "peer") if one["service"] == service]


def _ratio(results: Results, store: str, mine: str, theirs: str, connections: int) -> float:
    pairs = zip(
        _of(results, store, "this service", mine, connections),
        _of(results, store, "privacyIDEA", theirs, connections),
        strict=True,
    )
    return float(median(a["per_second"] / b["per_second"] for a, b in pairs))


def show(results: Results) -> None:
    """Print the tables: medians, and the lowest and the highest round."""
    table = Table(title="beside privacyIDEA (medians; lowest to highest round)", box=SIMPLE)
    for title in ("store", "service", "operation"):
        table.add_column(title)
    for title in ("conn.", "per s", "p50 ms", "p99 ms", "CPU µs"):
        table.add_column(title, justify="right")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in results.figures:
        key = (one["store"], one["service"], one["operation"], one["connections"])
        groups.setdefault(key, []).append(one)
    for (store, service, operation, connections), rounds in groups.items():
        names = (("per_second", 1), ("p50_ms", 1), ("p99_ms", 1), ("cpu_us", 0))
        cells = (_cell([one[name] for one in rounds], digits) for name, digits in names)
        table.add_row(store, service, operation, str(connections), *cells)
    console.print(table)
    for target in results.targets:
        met = "met" if target["met"] else "[bold red]missed[/]"
        console.print(f"{target['name']}: {target['value']:,} ({target['target']}, {met})")


def _cell(values: list[float], digits: int) -> str:
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}..{max(values):,.{digits}f})"


def run(arguments: Sequence[str] | None = None, *, size: Size = Size()) -> Results:
    """Run the comparison, and install privacyIDEA before it if necessary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES, help="only this store; repeatable")
    options = parser.parse_args(arguments)
    install()
    results, begin = Results(), time.time()
    for store in options.store or STORES:
        compare(store, size, results)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    pinned = dict(line.split("==") for line in (_FILES / "requirements.txt").read_text().splitlines()[1:])
    report = {
        "machine": environment(),
        "versions": {"python": sys.version.split()[0], "this service": version("ticket-credential-service")}
        | {name: pinned[name] for name in ("privacyidea", "gunicorn", "sqlalchemy", "psycopg2-binary")},
        "client": "wrk" if load.WITH_WRK else "tests.bench.load",
        "size": asdict(size),
        "began": begin,
        "took_seconds": round(time.time() - begin),
        "targets": results.targets,
        "figures": results.figures,
    }
    RESULT.write_text(json.dumps(report, indent=1))
    show(results)
    console.print(f"written to {RESULT}")
    return results


if __name__ == "__main__":
    run()
