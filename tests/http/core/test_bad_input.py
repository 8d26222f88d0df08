"""Bad input, byte by byte, to the real server: a 4xx problem, and nothing is stored."""

import base64
import contextlib
import http.client
import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from interface.composition.http_app import http_app
from interface.composition.register import PERMISSIONS
from interface.composition.service import start
from interface.settings import Settings

BASE = "/nevisidm/api/core/v1"
USER = f"{BASE}/client-123/users/user-123"
RESET = f"{USER}/ticket/reset"
CREATE = f"{BASE}/client-123/users/user-without-ticket/ticket"
UNKNOWN_USER = f"{BASE}/client-123/users/user-unknown"
JSON = ("Content-Type", "application/json")
WRITES = {"reset": ("POST", RESET), "create": ("POST", CREATE), "user": ("PUT", USER)}
OPERATIONS = [*WRITES.values(), ("GET", f"{USER}/ticket"), ("GET", USER)]
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")
LIMIT = 16 * 1024

Header = tuple[str, str | bytes]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Server:
    port: int
    directory: Path

    @property
    def key(self) -> Ed25519PrivateKey:
        key = load_pem_private_key((self.directory / "token.pem").read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return key

    def send(
        self, method: str, path: str, *headers: Header, body: Any = None, token: str | None = None
    ) -> Answer:
        """Send the path, the headers and the body (a list is sent in chunks) unchanged."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.putrequest(method, path, skip_accept_encoding=True)
            if not any(name == "Authorization" for name, _ in headers):
                connection.putheader("Authorization", f"Bearer {token or self.token()}")
            for name, value in headers:
                connection.putheader(name, value)
            # A server does not read the rest of a refused body.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if isinstance(body, list):
                    connection.putheader("Transfer-Encoding", "chunked")
                    connection.endheaders(iter(body), encode_chunked=True)
                else:
                    if body is not None:
                        connection.putheader("Content-Length", str(len(body)))
                    connection.endheaders(body)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())

    def token(self, key: Any = None, algorithm: str = "EdDSA", **changes: Any) -> str:
        """Return a token with every permission and these changes; a claim of None is omitted."""
        signing: Any = None if algorithm == "none" else key or self.key
        claims: dict[str, Any] = {
            "sub": "helpdesk",
            "iss": "tickets",
            "aud": "tickets",
            "exp": datetime.now(UTC) + timedelta(hours=1),
            "clients": ["*"],
            "permissions": PERMISSIONS,
            **changes,
        }
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            signing,
            algorithm=algorithm,
        )

    def stored(self) -> list[Any]:
        """Return every row except those of the outbox, which the delivery removes at any time."""
        with contextlib.closing(sqlite3.connect(self.directory / "tickets.db")) as store:
            return [
                store.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
                for table in (
                    "ticket_events WHERE topic <> 'AccessNoted'",  # refusals are recorded
                    "tickets",
                    "recipients",
                    "answers",
                )
            ]

    def refuses(
        self, status: int, code: str, method: str, path: str, *headers: Header, **request: Any
    ) -> Answer:
        """Send the request; assert that the response is this problem and the store is unchanged."""
        before = self.stored()
        answer = self.send(method, path, *headers, **request)
        assert answer.status == status, answer.content
        assert answer.headers["content-type"] == "application/problem+json"
        assert TRACEPARENT.fullmatch(answer.headers["traceparent"])
        if method != "HEAD":
            problem = answer.json()
            assert problem["status"] == status
            assert {error["code"] for error in problem["errors"]} == {f"errors.{code}"}
            assert all(set(error) == {"code", "message"} and error["message"] for error in problem["errors"])
        assert self.stored() == before
        return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all rows of the table, with a user who has a ticket and one who has none."""
    directory = tmp_path_factory.mktemp("server")
    settings = Settings(
        database_url=f"sqlite:///{directory}/tickets.db",
        mail_dir=directory / "mail",
        letter_dir=directory / "letters",
        deliver=False,  # its entries would be in the log that tests read
        outbox_key_file=directory / "outbox.key",
        token_key_file=directory / "token.pem",
    )
    app = http_app(start(settings))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The loggers of this process are unchanged.
        config = uvicorn.Config(app, http="httptools", log_config=None, log_level=None, access_log=False)
        uvicorn_server = uvicorn.Server(config)
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not uvicorn_server.started:
            time.sleep(0.01)
        server = Server(listening.getsockname()[1], directory)
        for path in (USER, CREATE.removesuffix("/ticket")):
            assert server.send("PUT", path, JSON, body=b'{"email": "user@example.com"}').status == 201
        assert server.send("POST", f"{USER}/ticket").status == 201
        yield server
        uvicorn_server.should_exit = True
        thread.join()


# ---------------------------------------------------------------- bodies

LONG = "x" * 10_000
NOT_TEXT: list[Any] = [1, 1.5, True, [], {}, ["x"]]
CONTROLS = ["\x00", "a\x00b", "\x1b[2J", "\x7f", "\x85"]
LINES = ["a\r\nBcc: evil@example.com", "a\n", "\r"]
NO_DATES: list[Any] = [
    *NOT_TEXT,
    1700000000,
    "",
    "1700000000",
    "tomorrow",
    "2026-11-23",
    "2026-11-23T09:42:00",
    "2026-11-23 09:42:00Z",
    "2026-02-30T00:00:00Z",
    "2026-11-23T24:00:01Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "2026-11-23T09:42:00Z\n",
]
BAD_FIELDS: dict[tuple[str, str], list[Any]] = {
    ("reset", "modificationComment"): [*NOT_TEXT, *CONTROLS, "x" * 1001],
    ("create", "modificationComment"): [*NOT_TEXT, *CONTROLS, "x" * 1001],
    ("create", "extId"): [*NOT_TEXT, *CONTROLS, *LINES, "", "x" * 51, LONG],
    ("create", "policyExtId"): [*NOT_TEXT, *CONTROLS, *LINES, "", "x" * 51, LONG],
    ("create", "stateName"): [*NOT_TEXT, None, "", "ACTIVE", "initial", "tmp-locked", "active\n", LONG],
    ("create", "validity"): [1, 1.5, True, [], "x", {"from": {}}, {"until": None}],
    ("create", "validity.from"): NO_DATES,
    ("create", "validity.to"): NO_DATES,
    ("user", "email"): [
        *NOT_TEXT,
        *CONTROLS,
        *LINES,
        "",
        "@",
        "user",
        "user@",
        "@example.com",
        "a b@example.com",
        "a@b@example.com",
        "a@example.com, evil@example.com",
        "<a@example.com>",
        '"a"@example.com',
        "a@example.com\r\nBcc: evil@example.com",
        "a@example.com\n",
        "a..b@example.com",
        "ä\u202e@example.com",
        "=?utf-8?q?a=0d=0aBcc:_evil?=@example.com",
        f"{LONG}@example.com",
    ],
    ("user", "name"): [*NOT_TEXT, *CONTROLS, *LINES, "", "x" * 201, LONG],
    ("user", "language"): [*NOT_TEXT, *CONTROLS, *LINES, "", "e", "en_GB", "en-", "de\n", LONG],
    ("user", "timeZone"): [
        *NOT_TEXT,
        *CONTROLS,
        *LINES,
        "",
        "CET+1",
        "Europe",
        "europe/zurich",
        "localtime",
        "../UTC",
        "UTC\n",
        LONG,
    ],
    ("user", "postalAddress"): [
        *("a", 1, True, {}, []),
        *([line] for line in [*NOT_TEXT, *CONTROLS, *LINES, "", "x" * 61, LONG]),
        ["x"] * 7,
    ],
}


@pytest.mark.parametrize(
    ("operation", "field", "value"),
    [
        pytest.param(operation, field, value, id=f"{operation}-{field}-{number}")
        for (operation, field), values in BAD_FIELDS.items()
        for number, value in enumerate(values)
    ],
)
def test_an_invalid_field_is_refused(server: Server, operation: str, field: str, value: object) -> None:
    method, path = WRITES[operation]
    body: dict[str, Any] = {"email": "other@example.com"} if operation == "user" else {}
    outer, _, inner = field.partition(".")
    body[outer] = {inner: value} if inner else value

    answer = server.refuses(400, "invalidData", method, path, JSON, body=json.dumps(body).encode())

    assert outer in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "validity",
    [
        {"from": "2026-11-24T00:00:00Z", "to": "2026-11-23T00:00:00Z"},
        {"from": "2026-11-24T00:00:00Z", "to": "2026-11-24T01:00:00+01:00"},
        {"to": "2001-01-01T00:00:00Z"},
        {"from": "9999-12-31T00:00:00Z"},
    ],
)
def test_a_validity_that_ends_before_it_begins_or_beyond_the_calendar_is_refused(
    server: Server, validity: dict[str, str]
) -> None:
    server.refuses(400, "invalidData", "POST", CREATE, JSON, body=json.dumps({"validity": validity}).encode())


GOOD = b'{"email": "other@example.com"}'
BAD_BODIES = {
    "blank": b"  ",
    "null": b"null",
    "a number": b"5",
    "a string": b'"x"',
    "a list": b"[{}]",
    "unknown field": b'{"email": "other@example.com", "ticket": "mine"}',
    "field in another case": b'{"Email": "other@example.com", "ModificationComment": "x"}',
    "truncated": GOOD[:-1],
    "truncated in a text": GOOD[:-4],
    "two documents": GOOD + GOOD,
    "trailing comma": b'{"email": "other@example.com",}',
    "single quotes": b"{'email': 'other@example.com'}",
    "comment": b'{"email": "other@example.com" /* mine */}',
    "NaN": b'{"email": NaN, "modificationComment": NaN}',
    "Infinity": b'{"email": -Infinity, "modificationComment": -Infinity}',
    "huge number": b'{"email": %s, "modificationComment": 1e999}' % (b"9" * 5000),
    "deep list": b"[" * 8000,
    "deep list, closed": b'{"email": ' + b"[" * 4000 + b"]" * 4000 + b"}",
    "deep object": b'{"email":' * 1500,
    "same field twice": b'{"email": "a@example.com", "email": "b@example.com"}',
    "same unknown field twice": b'{"modificationComment": "a", "modificationComment": "b"}',
    "lone surrogate": b'{"email": "\\ud800@example.com", "modificationComment": "\\udfff"}',
    "lone surrogate as a name": b'{"\\ud800": 1}',
    "control character as a name": b'{"a\\r\\nb\\u0000": 1}',
    "unescaped control character": b'{"email": "other\x01@example.com"}',
    "NUL at the end": GOOD + b"\x00",
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without mark": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "latin-1": '{"modificationComment": "für", "email": "ü@example.com"}'.encode("latin-1"),
    "overlong UTF-8": b'{"email": "\xc0\xaf@example.com", "modificationComment": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"email": "\xed\xa0\x80@example.com", "modificationComment": "\xed\xa0\x80"}',
    "form": b"email=other%40example.com",
    "XML": b"<email>other@example.com</email>",
    "gzip": bytes.fromhex("1f8b08000000000000ffabae050043bfa6a302000000"),
    "all the limit": b"x" * LIMIT,
}


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_does_not_match_the_document_is_refused(
    server: Server, operation: str, body: bytes
) -> None:
    server.refuses(400, "invalidData", *WRITES[operation], JSON, body=body)


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(
    "body",
    [b" " * (LIMIT + 1), b"x" * 200_000, [b" " * LIMIT, b" "], [b" " * 1000] * 40],
    ids=["a byte too many", "200 kB", "chunked, a byte too many", "40 chunks"],
)
def test_a_body_over_the_limit_is_refused(server: Server, operation: str, body: Any) -> None:
    server.refuses(413, "payloadTooLarge", *WRITES[operation], JSON, body=body)


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Content-Type", "")],
        [("Content-Type", "json")],
        [("Content-Type", "text/plain")],
        [("Content-Type", "application/jsonp")],
        [("Content-Type", "application/problem+json")],
        [("Content-Type", "application/x-www-form-urlencoded")],
        [("Content-Type", "application/json; charset=utf-16")],
        [("Content-Type", "application/json; charset=latin-1")],
        [("Content-Type", b"application/json; \xff")],
        [JSON, ("Content-Type", "text/plain")],
        [JSON, ("Content-Encoding", "gzip")],
    ],
    ids=str,
)
def test_a_body_not_declared_as_json_is_refused(
    server: Server, operation: str, headers: Sequence[Header]
) -> None:
    server.refuses(415, "unsupportedMediaType", *WRITES[operation], *headers, body=GOOD)


# ---------------------------------------------------------------- paths and methods

BAD_IDS = [
    "",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%00",
    "a%00",
    "%0a",
    "a%0A",
    "%0D%0ALocation:%20evil",
    "%1b",
    "%7F",
    "%C2%85",
    "%",
    "%2",
    "%zz",
    "a%z1",
    "%FF",
    "%C0%AF",
    "%ED%A0%80",
    "x" * 51,
    "x" * 10_000,
    "%C3%A4" * 51,
]


@pytest.mark.parametrize("name", BAD_IDS, ids=lambda name: name[:12] + f"({len(name)})")
@pytest.mark.parametrize("path", [f"{BASE}/{{}}/users/new", f"{BASE}/client-123/users/{{}}"])
def test_an_invalid_id_is_refused(server: Server, path: str, name: str) -> None:
    server.refuses(400, "invalidData", "PUT", path.format(name), JSON, body=GOOD)
    server.refuses(400, "invalidData", "POST", path.format(name) + "/ticket/reset")


@pytest.mark.parametrize("name", ["a%CC%88", "a%E2%80%AE", "%E2%80%8B", "%20a", "a%20"])
@pytest.mark.parametrize("path", [f"{BASE}/{{}}/users/new", f"{BASE}/client-123/users/{{}}"])
def test_a_new_id_that_looks_like_another_is_refused(server: Server, path: str, name: str) -> None:
    answer = server.refuses(400, "invalidData", "PUT", path.format(name), JSON, body=GOOD)

    assert "ExtId must " in answer.json()["detail"]
    server.refuses(404, "noRecord", "GET", path.format(name))


def test_ids_are_decoded_once(server: Server) -> None:
    answer = server.refuses(404, "noRecord", "GET", f"{BASE}/client-123/users/%252e%2500")

    assert "'%2e%00'" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["/", "/nevisidm", BASE, f"{USER}/", f"{RESET}/", f"/{RESET}", f"{BASE}/a/b/users/c", "/docs/assets/.."],
)
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    server.refuses(404, "noRecord", "GET", path)


ALLOWED = {RESET: "POST", f"{USER}/ticket": "DELETE, GET, HEAD, PATCH, POST", USER: "DELETE, GET, HEAD, PUT"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for path in ALLOWED for method in METHODS if method not in ALLOWED[path].split(", ")],
)
def test_a_wrong_method_is_answered_with_the_allowed_ones(server: Server, method: str, path: str) -> None:
    answer = server.refuses(405, "methodNotAllowed", method, path)

    assert answer.headers["allow"] == ALLOWED[path]


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    "accept",
    [
        ["text/html"],
        ["application/xml, text/*"],
        ["garbage"],
        ["application/json;q=0"],
        ["*/*;q=0.000"],
        ["application/json;q=0, */*"],
        ["text/html", "image/*"],
        [b"\xff"],
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_accept_header_without_json_is_refused(
    server: Server, method: str, path: str, accept: Sequence[str | bytes]
) -> None:
    server.refuses(406, "notAcceptable", method, path, *[("Accept", value) for value in accept])


@pytest.mark.parametrize(
    "accept", [[], [""], ["*/*"], ["text/html", "application/json;q=0.1"], ["application/*"]]
)
def test_an_accept_header_with_json_is_accepted(server: Server, accept: Sequence[str]) -> None:
    assert server.send("GET", USER, *[("Accept", value) for value in accept]).status == 200


BAD_TAGS: list[str | bytes] = [
    "",
    "7",
    "'7'",
    '"7',
    '7"',
    "W/7",
    'w/"7"',
    '*, "7"',
    '"7" "8"',
    '"a b"',
    b'"7"\xff',
]


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", BAD_TAGS, ids=str)
def test_an_invalid_entity_tag_is_refused(server: Server, name: str, value: str | bytes) -> None:
    for method, path in OPERATIONS:
        if name == "If-None-Match" or method != "GET":
            body = GOOD if method == "PUT" else b"{}" if method == "POST" else None
            server.refuses(400, "invalidData", method, path, JSON, (name, value), body=body)


@pytest.mark.parametrize(
    "value", ['"0"', '"01"', 'W/"1"', '"x"', '"99999999999999999999"', '"2", "3"', b'"\xff"'], ids=str
)
def test_a_stale_entity_tag_changes_nothing(server: Server, value: str | bytes) -> None:
    server.refuses(412, "optimisticLockingFailure", "POST", RESET, ("If-Match", value))
    server.refuses(412, "optimisticLockingFailure", "PUT", USER, JSON, ("If-Match", value), body=GOOD)


@pytest.mark.parametrize(
    "keys",
    [[""], ["x" * 256], ["x" * 10_000], ["ü".encode()], [b"\xff"], ["a\tb"], ["a", "a"]],
    ids=lambda keys: ascii(keys)[:20],
)
@pytest.mark.parametrize("path", [RESET, CREATE])
def test_an_invalid_idempotency_key_is_refused(
    server: Server, path: str, keys: Sequence[str | bytes]
) -> None:
    server.refuses(400, "invalidData", "POST", path, *[("Idempotency-Key", key) for key in keys])


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "given",
    [
        [""],
        ["x"],
        ["x" * 10_000],
        [TRACE[:-1]],
        [TRACE.upper()],
        [TRACE + "-more"],
        ["ff" + TRACE[2:]],
        [TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)],
        [TRACE.replace("00f067aa0ba902b7", "0" * 16)],
        [b"\xff" * 55],
        [TRACE, TRACE],
    ],
    ids=lambda given: ascii(given)[:20],
)
def test_a_malformed_traceparent_is_ignored_and_a_fresh_one_returned(
    server: Server, given: Sequence[str | bytes]
) -> None:
    answer = server.send("GET", USER, *[("traceparent", value) for value in given])

    assert answer.status == 200
    assert TRACEPARENT.fullmatch(answer.headers["traceparent"])
    assert answer.headers["traceparent"] not in given


# ---------------------------------------------------------------- authentication


def _unsigned(header: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, b"{}", b"x"))


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Basic dXNlcjpwYXNzd29yZA=="],
        ["Digest username=x"],
        ["Bearer garbage"],
        ["Bearer a.b.c"],
        [b"Bearer \xff.\xfe.\xfd"],
        ["Bearer " + "x" * 10_000],
        *[
            [f"Bearer {_unsigned(header)}"]
            for header in (
                b"[]",
                b"\xff",
                b'{"alg": []}',
                b'{"alg": "EdDSA", "kid": 1}',
                b'{"alg": "EdDSA", "crit": ["x"]}',
                b'{"alg": "EdDSA", "b64": false}',
                b'{"alg": "EdDSA", "x": ' + b"9" * 5000 + b"}",
                b"[" * 5000,
            )
        ],
    ],
    ids=lambda given: ascii(given)[:30],
)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_request_without_a_token_is_unauthenticated(
    server: Server, method: str, path: str, authorization: Sequence[str | bytes]
) -> None:
    # At least one header, otherwise `send` adds a valid one.
    headers = [("Authorization", value) for value in authorization or [b""]]

    answer = server.refuses(401, "unauthenticated", method, path, *headers)

    assert answer.headers["www-authenticate"].startswith('Bearer realm="tickets"')


def test_two_authorization_headers_are_unauthenticated(server: Server) -> None:
    good = f"Bearer {server.token()}"

    server.refuses(401, "unauthenticated", "POST", RESET, ("Authorization", good), ("Authorization", good))


PAST = datetime(2020, 1, 1, tzinfo=UTC)
BAD_CLAIMS: list[dict[str, Any]] = [
    {"exp": PAST},
    {"exp": None},
    {"exp": "soon"},
    {"exp": float("inf")},
    {"exp": float("nan")},
    {"nbf": datetime(2100, 1, 1, tzinfo=UTC)},
    {"iat": "x"},
    {"iss": "another"},
    {"iss": None},
    {"aud": "another"},
    {"aud": ["a", "b"]},
    {"aud": None},
    {"sub": None},
    {"sub": ""},
    {"sub": "a\x00b"},
    {"sub": "a\r\nb"},
    {"sub": "a\u2028b"},
    {"permissions": "AccessControl.CredentialModify"},
    {"permissions": [1]},
    {"permissions": {"AccessControl.CredentialModify": True}},
    {"clients": "*"},
    {"clients": [["*"]]},
    *(
        {claim: value}
        for claim in ("exp", "iat", "nbf")
        for value in (10**400, "2000000000", True, float("nan"))
    ),
    {"aud": {"tickets": True}},
    {"sub": "a" * 256},
    {"nonce": "n"},
    {"at_hash": "h"},
    {"sid": "s", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=lambda claims: ascii(claims)[:40])
def test_a_token_with_a_bad_claim_is_not_accepted(server: Server, claims: dict[str, Any]) -> None:
    token = server.token(**claims)

    answer = server.refuses(401, "unauthenticated", "POST", RESET, token=token)

    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert token not in str(answer)


@pytest.mark.parametrize(
    "forgery", ["unsigned", "HS256 with the public key", "another key", "signature cut", "claims changed"]
)
def test_a_forged_token_is_not_accepted(server: Server, forgery: str) -> None:
    header, claims, signature = server.token().split(".")
    public = server.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    other_claims = server.token(sub="root").split(".")[1]
    token = {
        "unsigned": lambda: server.token(algorithm="none"),
        "HS256 with the public key": lambda: server.token(key=public, algorithm="HS256"),
        "another key": lambda: server.token(key=Ed25519PrivateKey.generate()),
        "signature cut": lambda: f"{header}.{claims}.{signature[:-2]}",
        "claims changed": lambda: f"{header}.{other_claims}.{signature}",
    }[forgery]()

    server.refuses(401, "unauthenticated", "POST", RESET, token=token)


NEEDED = {
    ("POST", "/ticket/reset"): ["AccessControl.CredentialModify", "AccessControl.CredentialView"],
    ("POST", "/ticket"): ["AccessControl.CredentialCreate"],
    ("GET", "/ticket"): ["AccessControl.CredentialView"],
    ("PUT", ""): ["AccessControl.UserModify"],
    ("GET", ""): ["AccessControl.UserView"],
}


@pytest.mark.parametrize("user", [USER, UNKNOWN_USER], ids=["known", "unknown"])
@pytest.mark.parametrize(
    ("method", "path", "missing"),
    [(method, path, name) for (method, path), names in NEEDED.items() for name in names],
)
def test_a_missing_permission_is_a_403_whether_the_user_exists_or_not(
    server: Server, user: str, method: str, path: str, missing: str
) -> None:
    token = server.token(permissions=[name for name in PERMISSIONS if name != missing])

    answer = server.refuses(403, "permissionDenied", method, user + path, token=token)

    assert missing in answer.json()["detail"]


@pytest.mark.parametrize("user", [USER, UNKNOWN_USER], ids=["known", "unknown"])
@pytest.mark.parametrize(("method", "path"), NEEDED)
@pytest.mark.parametrize(
    "clients", [None, [], ["client-12"], ["CLIENT-123"], ["client-*"], [" client-123"]], ids=str
)
def test_a_missing_client_is_a_403_whether_the_user_exists_or_not(
    server: Server, user: str, method: str, path: str, clients: list[str] | None
) -> None:
    server.refuses(403, "dataroomPermissionDenied", method, user + path, token=server.token(clients=clients))


def test_a_refusal_discloses_nothing_else(server: Server) -> None:
    for token in (server.token(permissions=[]), server.token(clients=[])):
        known, unknown = (server.send("GET", f"{user}/ticket", token=token) for user in (USER, UNKNOWN_USER))

        assert known.content == unknown.content
