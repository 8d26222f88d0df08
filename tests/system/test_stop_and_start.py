"""A service stops on a signal, and faults prevent its start."""

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from interface.outbound.sql import schema
from tests.faults.test_crashes import USERS, Caller, assert_every_answer_is_stored, given_tickets
from tests.support.command import Command, command
from tests.support.deliveries import minting, smtp, subjects
from tests.support.evidence import open_store
from tests.support.mail_server import HANGS, MailServer, mail_server
from tests.support.schemas import make_unusable, migrate_to_next_release
from tests.support.server import BASE, NO_DELIVERY, PATIENCE_SECONDS, Server, serving, until

CALLERS = 6
# Long, so that a stop on a busy machine takes less than half of it.
GRACE_SECONDS = 120


@pytest.fixture
def hanging() -> Iterator[MailServer]:
    with mail_server(lambda _step, _to: HANGS) as mails:
        yield mails


def log_of(server: Server) -> str:
    """Return the log without the lines that report the address, and the version of SQLite."""
    lines = server.log.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not re.search(r"serving on http|SQLite 3\.", line))


@contextmanager
def reading(server: Server) -> Iterator[list[str]]:
    """Follow a client's events by a stream until it ends; yields the lines received so far."""
    reported: list[str] = []
    begun = threading.Event()

    def read() -> None:
        with (
            httpx.Client(
                base_url=server.client.base_url, headers=server.client.headers, trust_env=False
            ) as own,
            suppress(httpx.TransportError),
            own.stream("GET", "/client-123/events/stream", timeout=PATIENCE_SECONDS) as answer,
        ):
            for line in answer.iter_lines():
                reported.append(line)
                begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert begun.wait(PATIENCE_SECONDS)
        yield reported
    finally:
        reader.join(PATIENCE_SECONDS)


@contextmanager
def under_load(server: Server, callers: list[Caller]) -> Iterator[None]:
    """Reset from several callers, until the server refuses each of them."""
    with ThreadPoolExecutor(len(callers)) as pool:
        ends = [pool.submit(caller.reset_until_disconnected, server) for caller in callers]
        until(lambda: sum(len(caller.answered) for caller in callers) >= 50, "resets are answered")
        yield
        for end in ends:
            end.result(PATIENCE_SECONDS)


def ended(server: Server, seconds: float) -> int:
    """Wait until it has ended, and return its exit status."""
    return server.process.wait(seconds)


@pytest.mark.parametrize(
    ("store", "workers", "number"),
    [
        ("sqlite", 1, signal.SIGTERM),
        pytest.param("sqlite", 2, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("sqlite", 2, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("postgres", 1, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("postgres", 2, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_after_a_signal_under_load_every_caller_gets_a_response(
    store: str,
    tmp_path: Path,
    hanging: MailServer,
    workers: int,
    number: signal.Signals,
    request: pytest.FixtureRequest,
) -> None:
    database_url: str = request.getfixturevalue(f"{store}_url")
    settings = smtp(hanging, TICKETS_GRACE_SECONDS=str(GRACE_SECONDS))
    (tmp_path / "var" / "mail").mkdir(parents=True)
    callers = [Caller(USERS[index % len(USERS)]) for index in range(CALLERS)]
    with serving(tmp_path, database_url, "--workers", str(workers), **settings) as server:
        given_tickets(server, USERS)
        until(lambda: hanging.connections, "a mail hangs")
        with reading(server) as reported, under_load(server, callers):
            begin = time.monotonic()
            # To every process, like a terminal and systemd.
            os.killpg(server.process.pid, number)
            # Long enough for the log entry of a process that is late.
            status = ended(server, GRACE_SECONDS + 5)
            seconds = time.monotonic() - begin
        content = log_of(server)

    assert status == 0, content
    assert seconds < GRACE_SECONDS / 2
    assert "event: end" in reported
    # Every stored request was answered; a connection that the server had not accepted yet was closed.
    unanswered = assert_every_answer_is_stored(database_url, tmp_path, callers)
    assert not any(unanswered.values())
    assert "Traceback" not in content
    assert "cut off" not in content


def workers_of(server: Server) -> list[int]:
    """Return the worker processes of a server."""
    return [
        int(number)
        for number in processes_of(server)
        if b"spawn_main" in (Path("/proc") / number / "cmdline").read_bytes()
    ]


@contextmanager
def unfinished_request(server: Server) -> Iterator[None]:
    """Begin a request without ending it: a stop waits for it."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST {BASE}/client-123/users/user-0/ticket/reset HTTP/1.1\r\nHost: localhost\r\n"
        authorization = f"Authorization: {server.client.headers['Authorization']}\r\n"
        connection.sendall(f"{head}{authorization}Content-Length: 2\r\n\r\n{{".encode())
        # The request was received if a later one was answered by any process.
        for _ in range(10):
            httpx.get(f"http://127.0.0.1:{server.port}/livez", trust_env=False).raise_for_status()
        yield


def accepts(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("workers", "number"),
    [
        (1, signal.SIGTERM),
        pytest.param(1, signal.SIGINT, marks=pytest.mark.slow),
        (2, signal.SIGTERM),
    ],
)
def test_a_second_signal_ends_it_immediately(
    sqlite_url: str, tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    settings = {
        **NO_DELIVERY,
        "TICKETS_GRACE_SECONDS": str(GRACE_SECONDS),
        "TICKETS_REQUEST_PATIENCE_SECONDS": str(GRACE_SECONDS),
    }
    with (
        serving(tmp_path, sqlite_url, "--workers", str(workers), **settings) as server,
        unfinished_request(server),
    ):
        server.process.send_signal(number)
        until(lambda: not accepts(server), "it stops")
        assert server.process.poll() is None
        begin = time.monotonic()
        server.process.send_signal(number)
        status = ended(server, GRACE_SECONDS)
        seconds = time.monotonic() - begin
        # Python's helper process for shared memory ends by itself, after its parent.
        until(lambda: processes_of(server) == [], "all have ended")
        content = log_of(server)

    assert status == 128 + number
    assert seconds < GRACE_SECONDS / 2
    assert "Traceback" not in content


def processes_of(server: Server) -> list[str]:
    """Return the processes of its group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if group == str(server.process.pid) and state != "Z":
                found.append(path.parent.name)
    return found


def test_a_hanging_process_does_not_delay_the_stop_of_others(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2", **NO_DELIVERY) as server:
        hanging, other = workers_of(server)
        os.kill(hanging, signal.SIGSTOP)
        since = time.monotonic()
        until(lambda: time.monotonic() > since + 1, "the process was pinged, which is done twice a second")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: str(other) not in processes_of(server), "the other has ended")
        os.kill(hanging, signal.SIGCONT)
        assert ended(server, PATIENCE_SECONDS) == 0

    assert log_of(server) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_imports_of_a_process_stops_it_without_a_traceback(
    sqlite_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2", **NO_DELIVERY) as server:
        until(lambda: len(workers_of(server)) == 2, "both are started")
        first = set(workers_of(server))
        os.kill(min(first), signal.SIGKILL)
        until(lambda: set(workers_of(server)) - first, "another is started")
        os.killpg(server.process.pid, number)
        status = ended(server, GRACE_SECONDS)
        content = log_of(server)

    assert status == 0, content
    assert content.count("another takes its place") == 1
    assert "Traceback" not in content


def test_a_killed_process_is_replaced_and_logged(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, "--workers", "2", **NO_DELIVERY) as server:
        first = workers_of(server)
        os.kill(first[0], signal.SIGKILL)
        until(lambda: first[0] not in workers_of(server) and len(workers_of(server)) == 2, "another runs")
        given_tickets(server, ["user-0"])
        assert server.stop() == 0

    [line] = log_of(server).splitlines()
    assert json.loads(line)["event"] == f"process {first[0]} ended with -9: another takes its place"


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_stop_that_takes_too_long_is_logged_and_fails(
    sqlite_url: str, tmp_path: Path, hanging: MailServer, workers: int
) -> None:
    settings = smtp(hanging, TICKETS_GRACE_SECONDS="2")
    with serving(tmp_path, sqlite_url, "--workers", str(workers), **settings) as server:
        given_tickets(server, ["user-0"])
        until(lambda: hanging.connections, "a mail hangs, which a stop waits for")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        status = ended(server, PATIENCE_SECONDS)
        seconds = time.monotonic() - begin
        content = log_of(server)

    assert status == 1
    assert seconds >= 2
    assert "not stopped within 2 seconds: exiting with requests still open" in content
    assert "Traceback" not in content


def test_a_missing_trace_collector_does_not_delay_a_stop(sqlite_url: str, tmp_path: Path) -> None:
    settings = {
        **NO_DELIVERY,
        "TICKETS_TRACES": "True",
        "TICKETS_GRACE_SECONDS": str(GRACE_SECONDS),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    }
    with serving(tmp_path, sqlite_url, **settings) as server:
        given_tickets(server, ["user-0"])
        server.process.send_signal(signal.SIGINT)
        assert ended(server, GRACE_SECONDS + 5) == 0

    assert "cut off" not in log_of(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_separate_deliverer_exits_with_0(
    sqlite_url: str, tmp_path: Path, hanging: MailServer, number: signal.Signals
) -> None:
    with minting(tmp_path, sqlite_url) as minter:
        minter.create(*subjects(1))
    with command(tmp_path, "deliver", **smtp(hanging)) as worker:
        until(lambda: hanging.connections, "a mail hangs")
        assert worker.stop(number) == 0

    assert "Traceback" not in worker.err.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_separate_pusher_or_publisher_exits_with_0(
    sqlite_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with minting(tmp_path, sqlite_url) as minter:
        minter.create(*subjects(1))
    with (
        command(tmp_path, "push", output="pushed") as pusher,
        command(tmp_path, "publish", "--to", "nats://127.0.0.1:1", output="published") as publisher,
    ):
        publisher.reported("retrying in")
        until((tmp_path / "var" / "tickets.db.push.lock").exists, "it pushes")
        assert (pusher.stop(number), publisher.stop(number)) == (0, 0)

    logged = pusher.err.read_text().splitlines()
    assert [line for line in logged if "SQLite 3." not in line] == []
    assert "Traceback" not in publisher.err.read_text()


def end_of(directory: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    running = Command(directory, *arguments, **settings)
    try:
        return running.wait(), running.err.read_text()
    finally:
        running.kill()


@pytest.mark.parametrize(
    ("argument", "migrates"),
    [("serve", "False"), ("serve", "True"), ("deliver", "False"), ("migrate", "False")],
)
def test_a_too_new_schema_stops_the_start_with_one_line(
    database_url: str, tmp_path: Path, argument: str, migrates: str
) -> None:
    newest = make_unusable(database_url)

    status, reported = end_of(
        tmp_path, argument, TICKETS_DATABASE_URL=database_url, TICKETS_MIGRATE_AT_START=migrates
    )

    assert status == 2
    assert reported == (
        f"tickets: the store has schema version {newest + 2}, which needs a program with schema {newest + 1} or later;"
        f" this one has {newest}: upgrade the program\n"
    )


@pytest.mark.parametrize("arguments", [["serve"], ["deliver"], ["push"]], ids=" ".join)
def test_a_server_without_migration_names_the_command(
    postgres_url: str, tmp_path: Path, arguments: list[str]
) -> None:
    status, reported = end_of(tmp_path, *arguments, TICKETS_DATABASE_URL=postgres_url)

    newest = len(schema.POSTGRES)
    assert (status, reported) == (
        2,
        f"tickets: the store has schema version 0, this program needs {newest}: run `tickets migrate`\n",
    )


def test_a_store_of_the_next_release_is_served(database_url: str, tmp_path: Path) -> None:
    version = migrate_to_next_release(database_url)
    with serving(tmp_path, database_url, **NO_DELIVERY) as server:
        given_tickets(server, ["user-0"])

    assert end_of(tmp_path, "migrate", TICKETS_DATABASE_URL=database_url) == (0, "")
    assert (tmp_path / "out").read_text() == f"The schema has version {version}, as before.\n"


def test_a_server_serves_after_the_migration(postgres_url: str, tmp_path: Path) -> None:
    assert end_of(tmp_path, "migrate", TICKETS_DATABASE_URL=postgres_url) == (0, "")
    assert end_of(tmp_path, "migrate", TICKETS_DATABASE_URL=postgres_url) == (0, "")
    with serving(tmp_path, postgres_url, TICKETS_MIGRATE_AT_START="False", **NO_DELIVERY) as server:
        given_tickets(server, ["user-0"])

    newest = len(schema.POSTGRES)
    assert (tmp_path / "out").read_text() == (
        f"The schema has version {newest} now; it had 0.\nThe schema has version {newest}, as before.\n"
    )


def test_one_of_several_concurrent_migrations_migrates(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                command(tmp_path, "migrate", output=f"out-{number}", TICKETS_DATABASE_URL=database_url)
            )
            for number in range(5)
        ]
        ends = [(process.wait(), process.err.read_text()) for process in running]
    with closing(open_store(database_url)) as store:
        found = store.schema_version()
        newest = store.newest_schema

    assert ends == [(0, "")] * 5
    assert found == newest
    for process in running:
        assert re.match(
            rf"The schema has version {newest}( now; it had 0\.|, as before\.)\n", process.out.read_text()
        )


@pytest.mark.parametrize(
    ("path", "mode", "advice"),
    [
        (
            "var/keys/outbox.key",
            0o644,
            "other users can read var/keys/outbox.key: chmod 600 var/keys/outbox.key",
        ),
        (
            "var/keys/outbox.key",
            0o640,
            "other users can read var/keys/outbox.key: chmod 600 var/keys/outbox.key",
        ),
        (
            "var/keys/token.pem",
            0o604,
            "other users can read var/keys/token.pem: chmod 600 var/keys/token.pem",
        ),
        ("var/keys/set.pem", 0o644, "other users can read var/keys/set.pem: chmod 600 var/keys/set.pem"),
        ("var/keys", 0o777, "other users can replace files in var/keys: chmod 700 var/keys"),
        (
            "var/keys/ledger",
            0o770,
            "other users can replace files in var/keys/ledger: chmod 700 var/keys/ledger",
        ),
        ("var/tickets.db", 0o644, "other users can read var/tickets.db: chmod 600 var/tickets.db"),
    ],
)
def test_files_that_others_can_read_or_replace_stop_the_start_with_a_remedy(
    tmp_path: Path, path: str, mode: int, advice: str
) -> None:
    with minting(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db"):
        pass
    (tmp_path / path).touch()
    (tmp_path / path).chmod(mode)

    for argument in ("serve", "deliver", "push"):
        status, reported = end_of(tmp_path, argument)
        assert status == 2
        assert reported.startswith("tickets: other users can ")
        assert reported.count("\n") == 1
        assert advice in reported
