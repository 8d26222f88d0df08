"""Log lines are machine-readable, contain the ids of their request, and disclose no secret."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from domain.shared.secret import Secret
from interface.http.core.envelope import Envelope
from interface.telemetry.logs import log_to_stderr
from tests.support.command import command
from tests.support.deliveries import minting, subjects
from tests.support.server import NO_DELIVERY, serving, until

Lines = Callable[[], list[dict[str, Any]]]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CLEAR = "the-clear-ticket"
log = logging.getLogger("tickets.test")


@contextmanager
def logging_to(stream: io.StringIO, *, as_json: bool) -> Iterator[None]:
    """Log as the program does, and then as pytest does again."""
    root = logging.getLogger()
    handlers, level, stderr = root.handlers[:], root.level, sys.stderr
    sys.stderr = stream
    try:
        log_to_stderr(as_json=as_json)
        yield
    finally:
        sys.stderr = stderr
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


@pytest.fixture
def lines() -> Iterator[Lines]:
    stream = io.StringIO()
    with logging_to(stream, as_json=True):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def text() -> Iterator[Callable[[], str]]:
    stream = io.StringIO()
    with logging_to(stream, as_json=False):
        yield stream.getvalue


def failing() -> None:
    ticket = CLEAR
    secret = Secret(CLEAR)
    raise ValueError(f"it failed,\nwith a {type(ticket).__name__} and {secret}")


def fail_and_log() -> None:
    try:
        failing()
    except ValueError:
        log.exception("caught of %s", "client-1")


def test_each_line_is_an_object_with_time_level_logger_and_event(lines: Lines) -> None:
    begin = datetime.now(UTC)
    log.info("one of %s", "two")
    log.warning("line\nand another ü")
    logging.getLogger("uvicorn.error").error("a library's")

    first, second, third = lines()

    assert set(first) == {"time", "level", "logger", "event"}
    assert (first["level"], first["logger"], first["event"]) == ("info", "tickets.test", "one of two")
    assert begin <= datetime.fromisoformat(first["time"]) <= datetime.now(UTC)
    assert (second["level"], second["event"]) == ("warning", "line\nand another ü")
    assert (third["logger"], third["level"]) == ("uvicorn.error", "error")


def test_debug_messages_are_left_out(lines: Lines) -> None:
    log.debug("detail")

    assert lines() == []


def test_an_exception_is_one_line_without_its_local_variables(lines: Lines) -> None:
    fail_and_log()

    [line] = lines()

    assert line["event"] == "caught of client-1"
    assert "in failing" in line["exception"]
    assert "ValueError: it failed,\nwith a str and " in line["exception"]
    assert CLEAR not in json.dumps(line)


def test_an_exception_for_people_is_without_its_local_variables_too(text: Callable[[], str]) -> None:
    fail_and_log()

    assert "caught of client-1" in text()
    assert "in failing" in text()
    assert "ValueError: it failed" in text()
    assert CLEAR not in text()


def test_text_is_for_people(text: Callable[[], str]) -> None:
    log.warning("the store is slow: %d s", 3)
    structlog.stdlib.get_logger("tickets.other").info("request", status=200)

    slow, request = text().splitlines()

    assert re.match(r"20\d\d-\d\d-\d\dT[\d:.]+Z \[warning *\] the store is slow: 3 s", slow)
    assert "[tickets.test]" in slow
    assert "status=200" in request
    assert "\x1b" not in text()


def enveloped(app: Callable[[], None], **headers: str) -> int:
    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        app()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    client = TestClient(Envelope(answer, headers=[], headers_of={}), raise_server_exceptions=False)
    return int(client.get("/", headers=headers).status_code)


def test_log_entries_of_a_request_have_its_ids_and_later_ones_have_none(lines: Lines) -> None:
    enveloped(lambda: log.info("one"), traceparent=TRACEPARENT)
    enveloped(lambda: log.info("two"), traceparent=TRACEPARENT)
    enveloped(lambda: log.info("three"))
    log.info("four")

    one, two, three, four = (line for line in lines() if line["logger"] == "tickets.test")

    trace = TRACEPARENT.split("-")[1]
    assert one["correlation_id"] == two["correlation_id"] == trace
    assert re.fullmatch("[0-9a-f]{16}", one["request_id"])
    assert len({one["request_id"], two["request_id"], three["request_id"]}) == 3
    assert re.fullmatch("[0-9a-f]{32}", three["correlation_id"])
    assert three["correlation_id"] != trace
    assert not {"request_id", "correlation_id"} & set(four)


def test_an_unhandled_exception_is_logged_with_the_ids_of_its_request(lines: Lines) -> None:
    assert enveloped(failing, traceparent=TRACEPARENT) == 500

    [line] = [line for line in lines() if line["level"] == "error"]

    assert line["correlation_id"] == TRACEPARENT.split("-")[1]
    assert line["event"].startswith("urn:error:")
    assert CLEAR not in json.dumps(line)


def test_library_warnings_are_ordinary_log_lines(lines: Lines) -> None:
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)  # pytest captures them itself meanwhile
        warnings.warn("old-fashioned", DeprecationWarning, stacklevel=1)

    [line] = lines()
    assert line["logger"] == "py.warnings"
    assert "old-fashioned" in line["event"]


def of_server(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_request_is_logged_if_enabled_and_names_no_user(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, **NO_DELIVERY, TICKETS_LOG_REQUESTS="True") as server:
        server.client.put(
            "/client-123/users/user-4711",
            json={"email": "una@example.com"},
            headers={"traceparent": TRACEPARENT},
        ).raise_for_status()
        server.client.post("/client-123/users/user-4711/ticket").raise_for_status()
        server.client.get(
            "/client-123/users/user-4711/ticket?ticket=abc", headers={"Authorization": "Bearer x"}
        )
        authorization = server.client.headers["Authorization"]
        assert server.stop() == 0

    content = server.log.read_text()
    reported = [line for line in of_server(server.log) if line["event"] == "request"]
    put = next(line for line in reported if line["method"] == "PUT")
    assert put["status"] == 201
    assert (put["actor"], put["client"]) == ("helpdesk", "client-123")
    assert put["operation"]
    assert put["milliseconds"] > 0
    assert put["correlation_id"] == TRACEPARENT.split("-")[1]
    assert put["request_id"]
    assert [line["status"] for line in reported if line["method"] == "GET"][-1] == 401
    for secret in (authorization.split()[1], "user-4711", "una@example.com", "ticket=abc"):
        shown = secret in content
        assert not shown


def test_a_log_without_faults_has_the_address_only(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url) as server:
        server.client.put("/client-123/users/user-1", json={"email": "u@example.com"}).raise_for_status()
        server.client.post(
            "/client-123/users/user-1/ticket", headers={"Prefer": "wait=10"}
        ).raise_for_status()
        assert server.stop() == 0

    assert [line["event"] for line in of_server(server.log)] == [f"serving on http://127.0.0.1:{server.port}"]


def test_delivery_logs_without_request_ids(sqlite_url: str, tmp_path: Path) -> None:
    with serving(
        tmp_path,
        sqlite_url,
        TICKETS_SMTP_URL="smtp+plain://127.0.0.1:1",
        TICKETS_DELIVERY_RETRY_SECONDS="0.05",
        TICKETS_DELIVERY_LONGEST_WAIT_SECONDS="0.1",
    ) as server:
        server.client.put("/client-123/users/user-1", json={"email": "una@example.com"}).raise_for_status()
        server.client.post("/client-123/users/user-1/ticket").raise_for_status()
        until(lambda: server.log.read_text().count("\n") >= 4, "its failures are logged")
        assert server.stop() == 0

    reported = of_server(server.log)[1:]
    assert {line["logger"] for line in reported} == {"application.delivery.deliver_tickets"}
    assert not any("request_id" in line or "correlation_id" in line for line in reported)
    assert "una@example.com" not in server.log.read_text()


@pytest.mark.parametrize(("log_format", "is_json"), [("json", True), ("text", False), ("auto", True)])
def test_the_format_is_set(sqlite_url: str, tmp_path: Path, log_format: str, is_json: bool) -> None:
    with minting(tmp_path, sqlite_url) as minter:
        minter.create(*subjects(1))
    settings = {"TICKETS_LOG_FORMAT": log_format, "TICKETS_SMTP_URL": "smtp+plain://127.0.0.1:1"}
    with command(tmp_path, "deliver", **settings) as worker:
        worker.reported("delivery by Email failed")
        assert worker.stop() == 0

    first = worker.err.read_text().splitlines()[0]
    assert first.startswith("{") is is_json
    assert ("[warning" in first) is not is_json
