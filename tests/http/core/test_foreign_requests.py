"""Any value of a parameter, a header or a body gets a response below 500."""

import itertools
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.support.foreign import foreign_bytes, foreign_text, fuzz
from tests.support.lanes import FUZZ_CASES
from tests.support.web import RESET, Web

# These wait for events; tests/contracts/test_foreign_input.py and tests/http/feed test their parameters.
WAITING = {"streamEvents", "pollStream"}
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


class Requests:
    """Sends requests as ever new callers, whom no rate limit stops, and checks the responses."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._callers = itertools.count()
        web.given_a_ticket()
        document = web.client.get("/openapi.json").json()["paths"]
        self.operations = [
            (method, path, operation)
            for path, operations in document.items()
            for method, operation in operations.items()
            if operation["operationId"] not in WAITING
        ]

    def send(self, method: str, path: str, headers: dict[str, Any], **content: Any) -> None:
        """Send a request to a path, whose parameters are ids that exist or not."""
        # A caller has a thousand requests a minute.
        caller = self._web.as_caller(subject=f"caller-{next(self._callers) // 500}")
        url = path.format(**dict.fromkeys(_parameters(path), "1") | IDS)
        answer = self._web.client.request(method, url, headers={**caller, **headers}, **content)
        assert answer.status_code < 500, answer.text


@pytest.fixture
def requests(web: Web) -> Requests:
    return Requests(web)


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

    fuzz(check, st.tuples(st.sampled_from(parameters), foreign_bytes(VALUES)), count)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_any_value_of_a_header(requests: Requests, count: int) -> None:
    def check(drawn: tuple[tuple[str, str], str, str]) -> None:
        (name, _), value, method = drawn
        content = value.encode("utf-8", "surrogatepass")[:8000].replace(b"\n", b"").replace(b"\r", b"")
        requests.send(method, RESET.removesuffix("/reset"), {name: content})

    one = st.sampled_from(HEADERS).flatmap(
        lambda header: st.tuples(
            st.just(header), foreign_text([header[1]]), st.sampled_from(["GET", "PATCH"])
        )
    )
    fuzz(check, one, count)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_any_body(requests: Requests, count: int) -> None:
    operations = [
        (method, path) for method, path, operation in requests.operations if "requestBody" in operation
    ]
    assert len(operations) > 8

    def check(drawn: tuple[tuple[str, str], bytes]) -> None:
        (method, path), content = drawn
        requests.send(method, path, {"content-type": "application/json"}, content=content)

    fuzz(check, st.tuples(st.sampled_from(operations), foreign_bytes(BODIES)), count)
