"""The path table and the routes of the framework give the same response to every request, byte for byte."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from interface.http.core.envelope import BODY_LIMIT_BYTES
from interface.http.core.path_table import PathTable
from tests.support.fakes import TRACEPARENT
from tests.support.stores import temporary_store
from tests.support.web import BASE, NO_LIMITS, RESET, TICKET, USER, Web, web_over

IDS = {"{clientExtId}": "client-123", "{userExtId}": "user-123", "{policyExtId}": "default", "{name}": "s"}
METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")
JSON = (b"content-type", b"application/json")
GOOD = (b"authorization", b"")
# Its response has no end.
ENDLESS = f"{BASE}/client-123/events/stream"
# Signed with random numbers.
SIGNED = ("checkpoints", "evidence", "/ssf/")


@dataclass(frozen=True)
class Request:
    """A request as the server passes it on. chunks: of its body; None: the caller disconnects."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = (GOOD, JSON)
    chunks: tuple[bytes | None, ...] = (b"",)
    query: bytes = b""


def paths_of(operation: str) -> Iterator[str]:
    """Yield the path of an operation and paths that differ from it a little."""
    good = operation
    for name, value in IDS.items():
        good = good.replace(name, value)
    yield good
    yield from (f"{good}/", f"{good}//", f"/{good}", good.replace("/client-123", "//client-123"), f"{good}x")
    for value in (
        "",
        "%zz",
        "%ff",
        "a%2Fb",
        ".",
        "%2e",
        "users",
        "ticket",
        "n%C3%A9",
        "a" * 51,
        "%00",
        "\u0100",
        ";a",
        "%2e.",
    ):
        for name in IDS:
            if name in operation:
                path = operation.replace(name, value)
                for other, known in IDS.items():
                    path = path.replace(other, known)
                yield path


def requests_of(web: Web, path: str, methods: Sequence[str]) -> Iterator[Request]:
    """Yield good and bad requests for the operations of a path."""
    good, *others = dict.fromkeys(paths_of(path))
    yield from (Request(method, good) for method in METHODS if (method, good) != ("GET", ENDLESS))
    for method in methods:
        yield from (Request(method, other) for other in others)
        powerless = web.as_caller(permissions=[])["Authorization"].encode()
        stranger = web.as_caller(clients=["other"])["Authorization"].encode()
        for token in (powerless, stranger, b"Bearer x", b"Basic x", b"Bearer"):
            yield Request(method, good, ((b"authorization", token), JSON))
        yield Request(method, good, ())
        yield Request(method, good, (GOOD, GOOD))
        yield Request(method, good, (GOOD, (b"authorization", b"Bearer x")))
        yield Request(method, good, (GOOD, JSON, (b"accept", b"text/html")))
        if good == ENDLESS:
            continue
        large = b"x" * (BODY_LIMIT_BYTES + 1)
        for chunks in (
            (b"{}",),
            (b"{",),
            (b"{", b"}"),
            (b'{"a":1,', b'"a":1}'),
            (large,),
            (b"x", large),
            (b"{", None),
        ):
            yield Request(method, good, chunks=chunks)
        yield Request(method, good, (GOOD, JSON, (b"content-length", b"999999")))
        yield Request(
            method, good, (GOOD, JSON, (b"content-length", b"999999"), (b"expect", b"100-continue"))
        )
        yield Request(method, good, (GOOD, (b"content-type", b"text/plain")), (b"x",))
        for query in (b"limit=2", b"limit=0", b"limit=%zz", b"limit=1&limit=2", b"at=x", b"wait=x", b"%ff=1"):
            yield Request(method, good, query=query)
        for name in (b"if-match", b"if-none-match", b"idempotency-key", b"prefer"):
            values = (b"x", b'"7"', b"", b"\xe9")
            yield from (Request(method, good, (GOOD, JSON, (name, value))) for value in values)
            yield Request(method, good, (GOOD, JSON, (name, b'"7"'), (name, b"*")))
        yield Request(method, good, (GOOD, JSON, JSON), (b"{}",))
        yield Request(method, good, (GOOD, JSON, (b"content-length", b"2"), (b"content-length", b"999999")))


def answers(web: Web, requests: Sequence[Request]) -> list[tuple[int, Any, bytes] | None]:
    """Return the status, the headers and the body of each response; None: no response, since the caller disconnected."""
    app: Any = web.client.app
    token = web.client.headers["Authorization"].encode()

    async def answer(request: Request) -> tuple[int, Any, bytes] | None:
        headers = [
            (name, token if name == GOOD[0] and not value else value) for name, value in request.headers
        ]
        incoming, sent = list(request.chunks), list[Message]()

        async def receive() -> Message:
            chunk = incoming.pop(0) if incoming else None
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": bool(incoming)}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "raw_path": request.path.encode(),
            "root_path": "",
            "query_string": request.query,
            "headers": [*headers, (b"traceparent", TRACEPARENT.encode())],
            "client": ("127.0.0.1", 1),
            "state": {},
        }
        await app(scope, receive, send)
        if not sent:
            return None
        return sent[0]["status"], sent[0]["headers"], b"".join(message["body"] for message in sent[1:])

    assert web.client.portal
    return [web.client.portal.call(answer, request) for request in requests]


def test_both_ways_give_the_same_response_to_every_request(tmp_path: Path) -> None:
    found = {}
    for way in ("table", "framework"):
        with pytest.MonkeyPatch.context() as patch, temporary_store() as store:
            if way == "framework":
                patch.setattr(PathTable, "_find", lambda *_: None)
            with web_over(store, tmp_path, NO_LIMITS) as web:
                document = web.client.get("/openapi.json").json()
                web.client.headers["traceparent"] = TRACEPARENT
                web.given_a_ticket()
                requests = [
                    request
                    for path, operations in document["paths"].items()
                    for request in requests_of(web, path, [method.upper() for method in operations])
                ]
                requests += [
                    Request("GET", path) for path in ("/", "", "*", "/docs", "/livez", "/openapi.json", BASE)
                ]
                found[way] = list(zip(requests, answers(web, requests), strict=True))

    assert len(found["table"]) > 2500
    for (request, answer), (same, expected) in zip(found["table"], found["framework"], strict=True):
        random = any(part in request.path for part in SIGNED) and answer and answer[0] == 200
        assert (answer and answer[0]) == (expected and expected[0]), (request, same)
        assert random or answer == expected, (request, same)


def test_no_two_operations_of_a_method_have_a_path_in_common(web: Web) -> None:
    document: Any = web.client.get("/openapi.json").json()
    paths = [
        (method, path.split("/")) for path, operations in document["paths"].items() for method in operations
    ]

    for number, (method, path) in enumerate(paths):
        for other_method, other in paths[:number]:
            differ = any(a != b and "{" not in a + b for a, b in zip(path, other, strict=False))
            assert method != other_method or len(path) != len(other) or differ, (path, other)


def test_the_table_serves_every_operation_with_a_call(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    served = list[str]()
    find = PathTable._find

    def finding(table: PathTable, method: str, path: str) -> Any:
        operation = find(table, method, path)
        served.extend([path] if operation else [])
        return operation

    monkeypatch.setattr(PathTable, "_find", finding)
    for method, path in (("GET", TICKET), ("HEAD", USER), ("POST", RESET), ("GET", "/livez"), ("PUT", RESET)):
        web.client.request(method, path)

    assert served == [TICKET, USER, RESET]
