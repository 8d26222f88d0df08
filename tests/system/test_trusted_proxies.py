"""The caller's address is that of the peer, unless a trusted proxy reports another; only the log uses it."""

import json
from pathlib import Path

import pytest

from interface.settings import Settings
from tests.support.server import serving, until
from tests.support.sockets import connect, head, read_to_the_end

LOGGED = {"TICKETS_LOG_REQUESTS": "True", "TICKETS_LOG_FORMAT": "json"}
CALLER = "203.0.113.7"


def address_in_the_log(
    directory: Path, database_url: str, forwarded_for: str, trailer: str = "", **settings: str
) -> str:
    """Return the logged address of a request. trailer: sent after the body instead."""

    def logged() -> list[str]:
        lines = server.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line["address"] for line in found if line.get("operation") == "getUser"]

    with serving(directory, database_url, **LOGGED, **settings) as server:
        if trailer:
            start = head(
                server, "GET", "/client-123/users/user-123", "Transfer-Encoding: chunked", "Connection: close"
            )
            with connect(server) as connection:
                connection.sendall(start + f"0\r\nX-Forwarded-For: {trailer}\r\n\r\n".encode())
                read_to_the_end(connection)
        else:
            server.client.get("/client-123/users/user-123", headers={"X-Forwarded-For": forwarded_for})
        until(logged, "the request is logged")
        [address] = logged()
    return address


def test_the_header_of_a_trusted_proxy_is_used(tmp_path: Path, sqlite_url: str) -> None:
    proxies = {"TICKETS_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1"}

    # Addresses that a caller claims precede those that proxies add.
    assert address_in_the_log(tmp_path, sqlite_url, f"198.51.100.1, {CALLER}, 10.0.0.9", **proxies) == CALLER


def test_a_trailer_is_not_the_header_of_a_trusted_proxy(tmp_path: Path, sqlite_url: str) -> None:
    proxies = {"TICKETS_TRUSTED_PROXIES": "127.0.0.1"}

    assert address_in_the_log(tmp_path, sqlite_url, "", trailer=CALLER, **proxies) == "127.0.0.1"


def test_no_proxy_is_trusted_by_default_also_on_loopback(tmp_path: Path, sqlite_url: str) -> None:
    # The variable that uvicorn itself would read.
    assert address_in_the_log(tmp_path, sqlite_url, CALLER, FORWARDED_ALLOW_IPS="*") == "127.0.0.1"


@pytest.mark.parametrize("wrong", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.1;10.0.0.2", "10.0.0.300"])
def test_an_invalid_network_stops_the_start(wrong: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be addresses and networks such as 10\.0\.0\.7,10\.1\.0\.0/16"
    ):
        Settings(trusted_proxies=wrong)


@pytest.mark.parametrize(
    "wrong", ["*", "null", "desk.example", "https://desk.example/", "https://Desk.example", "file://x"]
)
def test_an_invalid_origin_stops_the_start(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"must be origins such as https://desk\.example"):
        Settings(cors_origins=f"https://good.example,{wrong}")
