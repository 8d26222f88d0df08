"""Foreign values of parameters, headers, bodies and page tokens: an invalid one is a 400, and none is a 500."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from interface.outbound.sql.postgres_store import PostgresStore
from tests.support.evidence import open_store
from tests.support.foreign import foreign_bytes, foreign_text, fuzz
from tests.support.lanes import FUZZ_CASES, MOST_CASES
from tests.support.web import BASE, NO_LIMITS, TICKET, USER, Web, web_over

# These wait for events; tests/contracts/test_foreign_input.py and tests/http/feed test their parameters.
WAITING = {"streamEvents", "pollStream"}
CLIENT = f"{BASE}/client-123"
LISTS = [
    f"{CLIENT}/users",
    f"{CLIENT}/tickets",
    f"{CLIENT}/tickets?expiresBefore=2030-01-01T00:00:00Z",
    f"{CLIENT}/tickets?lastModifiedAfter=2020-01-01T00:00:00Z",
    f"{CLIENT}/history",
    f"{CLIENT}/checkpoints",
    f"{TICKET}/history",
]
IDS = {
    "clientExtId": "client-123",
    "userExtId": "user-123",
    "policyExtId": "p",
    "name": "siem",
    "streamId": "s",
}
VALUES = (
    "1",
    "1000",
    "user-123",
    "2026-03-03T12:00:00Z",
    "9999-12-31T23:59:59Z",
    "WyIxIiwgIiJd",
    "TicketRegenerated,TicketCreated",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tickets/client-123\n1\n" + "A" * 43 + "=\n",
    "42~0a1b2c3d",
    "true",
)
HEADERS = (
    ("if-match", '"1", W/"2u"'),
    ("if-none-match", "*"),
    ("idempotency-key", "7c0ec4b2"),
    ("accept", "application/json;q=0.5"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("last-event-id", "42~0a1b2c3d"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-encoding", "identity"),
    ("authorization", "Bearer a.b.c"),
    ("x-forwarded-for", "192.0.2.1"),
)
BODIES = (
    '{"ticket": "k7mWq2xHvT9pRbN4cYdJ8sLf", "modificationComment": "forgotten"}',
    '{"stateName": "active", "validity": {"from": "2026-03-03T12:00:00Z", "to": "9999-12-31T23:59:59+01:00"}}',
    '{"email": "ann@example.com", "name": "Ann", "language": "en", "postalAddress": ["Lane 1", "8001 Town"]}',
    '{"url": "https://siem.example/hook", "types": ["TicketRegenerated"], "batchSize": 10, "after": "0"}',
    '{"parameters": {"ticketLength": 20, "maxCredFailureCount": 3}, "ticketProcessing": ["None", "Email"]}',
    '{"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://x.example"}, "events_requested": ["a"]}',
)

pytestmark = pytest.mark.timeout(300 + MOST_CASES // 10)


class Requests:
    """Sends requests, and checks the responses."""

    def __init__(self, web: Web) -> None:
        self._web = web
        web.given_a_ticket()
        document = web.client.get("/openapi.json").json()["paths"]
        self.operations = [
            (method, path, operation)
            for path, operations in document.items()
            for method, operation in operations.items()
            if operation["operationId"] not in WAITING
        ]

    def cases(self, count: int) -> int:
        """Return the number of cases: on PostgreSQL, which costs three times as much, a fifth of them."""
        return count // 5 if isinstance(self._web.service.store, PostgresStore) else count

    def send(self, method: str, path: str, headers: dict[str, Any], **content: Any) -> None:
        """Send a request to a path, whose parameters are ids that exist or not."""
        url = path.format(**dict.fromkeys(_parameters(path), "1") | IDS)
        answer = self._web.client.request(method, url, headers=headers, **content)
        assert answer.status_code < 500, answer.text


@pytest.fixture
def requests(database_url: str, tmp_path: Path) -> Iterator[Requests]:
    store = open_store(database_url)
    with web_over(store, tmp_path, NO_LIMITS) as web:
        yield Requests(web)
    store.close()


def _parameters(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_any_value_of_a_query_parameter(requests: Requests, count: int) -> None:
    parameters = [
        (method, path, parameter["name"])
        for method, path, operation in requests.operations
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and parameter["name"] != "wait" and method == "get"
    ]
    assert len(parameters) > 20

    def check(drawn: tuple[tuple[str, str, str], bytes]) -> None:
        (method, path, name), value = drawn
        requests.send(method, path, {}, params={name: value[:8000]})

    fuzz(check, st.tuples(st.sampled_from(parameters), foreign_bytes(VALUES)), requests.cases(count))


@pytest.mark.parametrize("count", FUZZ_CASES)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_value_of_a_header(requests: Requests, count: int) -> None:
    def check(drawn: tuple[tuple[str, str], str, str]) -> None:
        (name, _), value, method = drawn
        content = value.encode("utf-8", "surrogatepass")[:8000].replace(b"\n", b"").replace(b"\r", b"")
        requests.send(method, TICKET, {name: content})

    one = st.sampled_from(HEADERS).flatmap(
        lambda header: st.tuples(
            st.just(header), foreign_text([header[1]]), st.sampled_from(["GET", "GET", "GET", "PATCH"])
        )
    )
    fuzz(check, one, count)


@pytest.mark.parametrize("count", FUZZ_CASES)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_body(requests: Requests, count: int) -> None:
    operations = [
        (method, path) for method, path, operation in requests.operations if "requestBody" in operation
    ]
    assert len(operations) > 8

    def check(drawn: tuple[tuple[str, str], bytes]) -> None:
        (method, path), content = drawn
        requests.send(method, path, {"content-type": "application/json"}, content=content)

    fuzz(check, st.tuples(st.sampled_from(operations), foreign_bytes(BODIES)), count)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_any_page_token(requests: Requests, count: int) -> None:
    def check(drawn: tuple[str, bytes, bool]) -> None:
        path, content, encoded = drawn
        given = base64.urlsafe_b64encode(content) if encoded else content
        requests.send("get", f"{path}{'&' if '?' in path else '?'}continuationToken={quote(given)}", {})

    # A request line has at most 64 KiB, and a percent-encoded byte has three characters.
    contents = foreign_bytes(['["1", ""]', '["2026-03-03T12:00:00.000000+00:00", "user-123"]']).map(
        lambda content: content[:5000]
    )
    fuzz(check, st.tuples(st.sampled_from(LISTS), contents, st.booleans()), requests.cases(count))


def token(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


def assert_invalid(answer: Any) -> None:
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["code"] == "errors.invalidData"


@pytest.mark.parametrize(
    "given_token",
    [
        "WyIiLCAiXHVkODAwIl0=",
        token(b"[" * 5000),
        token(b'{"a":' * 5000),
        token(b'["' + b"x" * 10 + b'", ' + b"9" * 10_000 + b"]"),
        token(b"[1, 2]"),
        token(b'["1"]'),
        token(b'["1", "", ""]'),
        token(b'["1", "\xed\xa0\x80"]'),
        token(b'["1", "\\u0000"]'),
        token(b'["1", ""]x'),
        token(b'["1", NaN]'),
        "%",
        "\xe4",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("path", LISTS)
def test_an_invalid_token_is_a_400_on_every_list(web: Web, path: str, given_token: str) -> None:
    web.client.put(USER, json={"email": "user@example.com"})
    web.client.post(TICKET)

    assert_invalid(
        web.client.get(f"{path}{'&' if '?' in path else '?'}continuationToken={quote(given_token)}")
    )


@pytest.mark.parametrize(
    "query", ["actor=%", "actor=%zz", "actor=%FF", "actor=%ED%A0%80", "%C0%AF=1", "limit=1&x=%2"]
)
def test_an_invalid_percent_encoding_in_a_query_is_a_400(web: Web, query: str) -> None:
    web.client.put(USER, json={"email": "user@example.com"})

    assert_invalid(web.client.get(f"{CLIENT}/history?{query}"))


def test_a_checkpoint_of_an_impossible_size_is_a_400(web: Web) -> None:
    web.client.put(USER, json={"email": "user@example.com"})
    note = quote(f"tickets/client-123\n{'9' * 30}\nAAAA\n")

    assert_invalid(web.client.get(f"{CLIENT}/evidence?checkpoint={note}"))
