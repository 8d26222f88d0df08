"""HEAD is accepted on every path with a GET, with the same permissions, headers and records, and without a body."""

import re
from typing import Any

from tests.http.core.test_bounded_protocol import server as server  # noqa: PLC0414 - a fixture
from tests.support.server import Server
from tests.support.sockets import connect, head, read_to_the_end
from tests.support.web import BASE, TICKET, USER, Web

CLIENT = f"{BASE}/client-123"
# The read of a history is an entry of the next one.
VARYING = ("traceparent", "date", "content-length")


def resources(web: Web) -> list[str]:
    """Return the path of every GET of the document that needs no parameter, except streams."""
    known = {"clientExtId": "client-123", "userExtId": "user-123", "policyExtId": "default", "name": "s"}
    document: Any = web.client.get("/openapi.json").json()
    paths = [path for path, operations in document["paths"].items() if "get" in operations]
    return [
        re.sub(r"{(\w+)}", lambda name: known.get(name[1], "1"), path)
        for path in paths
        if "stream" not in path
    ]


def test_head_has_the_status_and_headers_of_get_on_every_path(web: Web) -> None:
    web.client.put(USER, json={"email": "user@example.com"})
    web.client.post(TICKET)
    web.client.put(f"{CLIENT}/policies/default", json={})
    found = resources(web)
    assert len(found) > 15

    for path in found:
        got, headed = web.client.get(path), web.client.head(path)
        assert headed.content == b"", path
        assert headed.status_code == got.status_code, path
        assert {**headed.headers, **dict.fromkeys(VARYING, "")} == {
            **got.headers,
            **dict.fromkeys(VARYING, ""),
        }, path
    assert web.client.head(USER).headers["content-length"] == str(len(web.client.get(USER).content))


def test_head_needs_the_permission_of_get(web: Web) -> None:
    web.client.put(USER, json={"email": "user@example.com"})

    assert web.client.head(USER, headers={"Authorization": ""}).status_code == 401
    assert web.client.head(USER, headers=web.as_caller(permissions=[])).status_code == 403


def test_head_is_recorded_like_get(web: Web) -> None:
    web.client.put(USER, json={"email": "user@example.com"})
    web.client.post(TICKET)
    for read in (web.client.get, web.client.head):
        read(f"{TICKET}/history")

    items = web.client.get(f"{CLIENT}/history?type=AccessNoted").json()["items"]
    first, second = (item["details"] for item in items if item["userExtId"])
    assert first == second


def test_head_of_a_path_without_get_is_a_405(web: Web) -> None:
    answer = web.client.head(f"{TICKET}/reset")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_head_of_an_endless_stream_ends(server: Server) -> None:
    server.client.put("/client-123/users/user-h", json={"email": "h@example.com"})
    with connect(server) as connection:
        connection.sendall(head(server, "HEAD", "/client-123/events/stream", "Connection: close"))
        lines, _, content = read_to_the_end(connection).partition(b"\r\n\r\n")

    assert lines.startswith(b"HTTP/1.1 200 ")
    assert b"text/event-stream" in lines
    assert content == b""
