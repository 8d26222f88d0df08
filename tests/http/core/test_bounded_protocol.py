"""Malformed or endless HTTP is refused like other bad input: with a problem, a traceparent and secure headers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.http.core.test_secure_headers import EVERY, NOTHING
from tests.support.server import BASE, NO_DELIVERY, Server, serving
from tests.support.sockets import connect, head, read_alive, read_to_the_end

RESET = "/client-123/users/user-0/ticket/reset"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("bounded")
    url = f"sqlite:///{directory}/var/tickets.db"
    with serving(
        directory, url, **NO_DELIVERY, TICKETS_REQUEST_PATIENCE_SECONDS="1", TICKETS_HSTS_SECONDS="60"
    ) as running:
        yield running


def assert_refused(answer: bytes, status: int) -> None:
    start, _, content = answer.partition(b"\r\n\r\n")
    line, *lines = start.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    problem = json.loads(content)
    assert line.split()[1] == str(status)
    assert headers.items() >= EVERY.items()
    assert headers["content-security-policy"] == NOTHING
    assert headers["strict-transport-security"] == "max-age=60"
    assert headers["content-type"] == "application/problem+json"
    assert (headers["cache-control"], headers["connection"]) == ("no-store", "close")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", headers["traceparent"])
    assert problem["status"] == status
    assert problem["errors"][0]["message"] == problem["detail"]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"HELO mail\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_malformed_http_is_a_400(server: Server, sent: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(sent)
        assert_refused(read_to_the_end(connection), 400)


def test_malformed_http_after_a_request_does_not_affect_its_response(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        read_alive(connection)
        connection.sendall(b"\x00\r\n\r\n")
        assert_refused(read_to_the_end(connection), 400)


def test_an_endless_head_is_a_431(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"X-Long: 1\r\n" * 7_000)
        assert_refused(read_to_the_end(connection), 431)


def test_each_refusal_is_counted_by_its_status(server: Server) -> None:
    before = counted(server)
    for sent in (
        b"HELO mail\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Long: 1\r\n" * 7_000,
        head(server, "POST", RESET, "Content-Length: 10"),
        b"GET / HTTP/1.1\r\n",
    ):
        with connect(server) as connection:
            connection.sendall(sent)
            read_to_the_end(connection)
    after = counted(server)

    grown = {status: after.get(status, 0) - before.get(status, 0) for status in ("400", "408", "413", "431")}
    assert grown == {"400": 1, "408": 2, "413": 0, "431": 1}


def counted(server: Server) -> dict[str, float]:
    """Return the number of responses per status to requests without an operation."""
    text = httpx.get(f"http://127.0.0.1:{server.port}/metrics", trust_env=False).text
    return {
        sample.labels["status"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "tickets_http_requests_total" and sample.labels["operation"] == "none"
    }


def test_an_endless_body_is_a_408(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(head(server, "POST", RESET, "Content-Length: 10"))
        assert_refused(read_to_the_end(connection), 408)


def get(*lines: str) -> bytes:
    return "\r\n".join(["GET /livez HTTP/1.1", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Host: a", "Host: a"],
        ["Host: a", "HOST: b"],
        ["Host: a b"],
        ["Host: a/b"],
        ["Host: a@b"],
        ["Host: [::1"],
    ],
)
def test_a_request_without_exactly_one_valid_host_is_a_400(server: Server, lines: list[str]) -> None:
    with connect(server) as connection:
        connection.sendall(get(*lines))
        assert_refused(read_to_the_end(connection), 400)


@pytest.mark.parametrize("host", ["", "tickets.example.com", "tickets:8080", "[::1]:8080", "127.0.0.1"])
def test_a_valid_host_is_accepted(server: Server, host: str) -> None:
    with connect(server) as connection:
        connection.sendall(get(f"Host: {host}"))
        assert read_alive(connection).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_needs_no_host(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head_lines",
    [["X: " + "x" * 66_000], ["x" * 66_000 + ": 1"], ["X: 1"] * 128, ["X: " + "x" * 1000] * 66],
    ids=["a long value", "a long name", "too many", "too much"],
)
def test_a_large_head_that_arrives_in_one_read_is_a_431(server: Server, head_lines: list[str]) -> None:
    with connect(server) as connection:
        connection.sendall(get("Host: x", *head_lines))
        assert_refused(read_to_the_end(connection), 431)


def test_a_large_target_that_arrives_in_one_read_is_a_431(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 66_000))
        assert_refused(read_to_the_end(connection), 431)


def chunked(*head_lines: str, trailers: list[str]) -> bytes:
    head = ["Host: x", *head_lines, "Content-Type: application/json", "Transfer-Encoding: chunked"]
    body = ["2", "{}", "0", *trailers]
    return "\r\n".join([*head, "Connection: close", "", *body, "", ""]).encode()


def status_of(server: Server, request: bytes) -> int:
    with connect(server) as connection:
        connection.sendall(request)
        return int(read_to_the_end(connection).split()[1])


def test_a_trailer_does_not_authenticate_or_set_a_condition(server: Server) -> None:
    path = f"{BASE}/client-123/users/user-t"
    authorization = f"Authorization: {server.client.headers['Authorization']}"
    put = f"PUT {path} HTTP/1.1\r\n".encode()
    post = f"POST {path}/ticket HTTP/1.1\r\n".encode()
    assert server.client.put("/client-123/users/user-t", json={"email": "t@example.com"}).status_code == 201

    assert status_of(server, put + chunked(trailers=[authorization])) == 401
    assert status_of(server, post + chunked(authorization, trailers=['If-Match: "9"'])) == 201


def test_a_trailer_of_a_request_does_not_affect_the_next_one(server: Server) -> None:
    with connect(server) as connection:
        request = b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: y\r\nX: 1\r\n\r\n"
        connection.sendall(request + get("Host: x"))
        assert b"405 Method Not Allowed" in read_alive(connection)


def test_blanks_around_a_header_value_do_not_count(server: Server) -> None:
    assert server.client.put("/client-123/users/user-b", json={"email": "b@example.com"}).status_code == 201
    keys = ["k", "k ", "\tk", "  k\t "]

    answers = []
    for key in keys:
        with connect(server) as connection:
            more = (f"Idempotency-Key:{key}", "Content-Length: 2", "Connection: close")
            connection.sendall(head(server, "POST", "/client-123/users/user-b/ticket", *more) + b"{}")
            answers.append(read_to_the_end(connection).partition(b"\r\n\r\n")[2])

    assert answers == [answers[0]] * len(keys)
    assert json.loads(answers[0])["version"] == 1
