"""Allowed addresses, and the handling of any response."""

import asyncio
import gzip
import socket
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from application.subscriptions.push_ports import DeliveryRejected
from interface.outbound.http_out.outgoing_http import OutgoingHttp
from tests.support.certificates import self_signed, server_context
from tests.support.receiver import HANGS, Received, answer, receiving

SECRET_PATH = "/hooks/t0k3n"


def post(url: str, *, private: bool = True, timeout_seconds: float = 5) -> bytes:
    async def run() -> bytes:
        http = OutgoingHttp({"127.0.0.1", "localhost"} if private else (), timeout_seconds=timeout_seconds)
        try:
            return await http.post(url, {"Content-Type": "text/plain"}, b"content")
        finally:
            await http.close()

    return asyncio.run(run())


def not_taken(url: str, **changes: Any) -> DeliveryRejected:
    with pytest.raises(DeliveryRejected) as refusal:
        post(url, **changes)
    assert "t0k3n" not in str(refusal.value)
    return refusal.value


@pytest.mark.parametrize(
    "reported",
    [
        answer(200, body=b"thanks"),
        answer(202),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        # The status decides, even if the body is truncated or too large.
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 1_000_000,
    ],
)
def test_a_2xx_is_an_acknowledgement(reported: bytes) -> None:
    with receiving(lambda _: reported) as receiver:
        post(receiver.url(SECRET_PATH))

    assert receiver.received[0].body == b"content"


def test_an_endless_body_is_bounded_by_the_time_limit() -> None:
    with receiving(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun") as receiver:
        post(receiver.url(SECRET_PATH), timeout_seconds=0.3)


@pytest.mark.parametrize(
    ("reported", "message", "gone", "seconds"),
    [
        (answer(500), "responded with 500", False, 0),
        (answer(404), "responded with 404", False, 0),
        (answer(410), "responded with 410", True, 0),
        (answer(429, "Retry-After: 7"), "responded with 429", False, 7),
        (answer(503, "Retry-After: soon"), "responded with 503", False, 0),
        (answer(503, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"), "responded with 503", False, 0),
        (
            answer(301, "Location: http://127.0.0.1/"),
            "responded with 301: redirects are not followed",
            False,
            0,
        ),
        (answer(307, "Location: https://[::1]/"), "responded with 307: redirects are not followed", False, 0),
        (b"nonsense\r\n\r\n", "the connection was lost", False, 0),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nlonger",
            "the connection was lost",
            False,
            0,
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "the connection was lost", False, 0),
    ],
)
def test_any_other_response_is_a_rejection(reported: bytes, message: str, gone: bool, seconds: int) -> None:
    with receiving(lambda _: reported) as receiver:
        refusal = not_taken(receiver.url(SECRET_PATH))

    assert message in str(refusal)
    assert (refusal.gone, refusal.retry_after) == (gone, timedelta(seconds=seconds))
    assert len(receiver.received) == 1


def test_a_compressed_response_is_not_expanded() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    with receiving(lambda _: answer(200, "Content-Encoding: gzip", body=bomb)) as receiver:
        assert post(receiver.url(SECRET_PATH)) == bomb[: 64 * 1024]

    assert receiver.received[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "header",
    [
        "Retry-After: Mon, 99 Foo 99999999999999999999 99:99:99 +9999999999",
        f"Retry-After: {'9' * 5000}",
        "Retry-After: ,",
        "Set-Cookie: \x01;=;;" + "a=b;" * 500,
        "Content-Type: \xff/\xff; charset=\x00",
        "Link: <" * 200,
    ],
    ids=range(6),
)
def test_a_malformed_header_is_no_fault_of_the_service(header: str) -> None:
    with receiving(lambda _: answer(503, header)) as receiver:
        not_taken(receiver.url(SECRET_PATH))


@pytest.mark.parametrize("fault", [RecursionError, TypeError])
def test_an_unexpected_fault_is_left_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(aiohttp.StreamReader, "read", fail)
    with receiving(lambda _: answer(200, body=b"x")) as receiver, pytest.raises(fault):
        post(receiver.url(SECRET_PATH))


@pytest.mark.parametrize(
    "url", ["https://[::1", "https://h:99999/t0k3n", "t0k3n", "https:///t0k3n", "ftp://h/t0k3n"]
)
def test_an_invalid_url_is_a_rejection(url: str) -> None:
    assert str(not_taken(url)) == "the URL is invalid"


def test_a_silent_server_is_bounded_by_the_time_limit() -> None:
    with receiving(lambda _: HANGS) as receiver:
        refusal = not_taken(receiver.url(SECRET_PATH), timeout_seconds=0.2)

    assert str(refusal) == "no response within 0.2 seconds"


def test_an_unknown_or_closed_host_is_reported() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert str(not_taken(f"http://127.0.0.1:{closed.getsockname()[1]}{SECRET_PATH}")) == "cannot connect"
    refusal = not_taken(f"https://nowhere.invalid{SECRET_PATH}")
    assert str(refusal) in ("the host name cannot be resolved", "no response within 5 seconds")


def test_an_untrusted_certificate_is_rejected(tmp_path: Path) -> None:
    tls = server_context(self_signed(tmp_path / "server.pem"))
    with receiving(lambda _: answer(200), tls=tls) as receiver:
        refusal = not_taken(receiver.url(SECRET_PATH))

    assert str(refusal) == "the certificate is invalid or not trusted"
    assert receiver.received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433"])
def test_private_addresses_are_unreachable(host: str) -> None:
    with receiving() as receiver:
        refusal = not_taken(f"http://{host}:{receiver.port}{SECRET_PATH}", private=False)

    assert receiver.received == []
    assert "127" not in str(refusal)


def test_the_address_is_checked_at_connection_time_despite_earlier_dns_responses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the name has a public address when it is checked and a private one when it is used."""

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[Any]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": family or socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    monkeypatch.setattr(aiohttp.AsyncResolver, "resolve", resolve)
    with receiving() as receiver:
        refusal = not_taken(f"http://rebound.example:{receiver.port}{SECRET_PATH}", private=False)

    assert "private address" in str(refusal)
    assert receiver.received == []


def test_a_hanging_request_does_not_delay_others() -> None:
    def behave(request: Received) -> bytes | None:
        return HANGS if request.path == "/hangs" else answer(200)

    async def run(port: int) -> None:
        http = OutgoingHttp({"127.0.0.1"}, timeout_seconds=20)

        def send(path: str) -> Coroutine[Any, Any, bytes]:
            return http.post(f"http://127.0.0.1:{port}{path}", {}, b"")

        hanging = [asyncio.create_task(send("/hangs")) for _ in range(150)]
        try:
            for _ in range(20):
                await asyncio.wait_for(send("/fine"), 10)
        finally:
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
            await http.close()

    with receiving(behave) as receiver:
        asyncio.run(run(receiver.port))

    assert len(receiver.at("/fine")) == 20
