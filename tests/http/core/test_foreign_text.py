"""Page tokens, queries and headers from outside: an invalid one is a 400 on every operation that reads it, never a 500."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interface.composition.register import TABLES
from interface.outbound.http_out.outgoing_http import _retry_after
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.lanes import forms
from tests.support.service import AnyStore
from tests.support.web import BASE, TICKET, USER, Web, web_over

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
PARAMETERS = [
    *("limit", "after", "from", "to", "at", "atVersion", "actor", "type", "userExtId", "correlationId"),
    *("stateName", "policyExtId", "expiresBefore", "since", "checkpoint", "first", "last", "types"),
    *("continuationToken", "subscription", "stream"),
]
READS = [*LISTS[:2], *LISTS[4:], TICKET, USER, f"{CLIENT}/events", f"{CLIENT}/evidence", f"{TICKET}/evidence"]
HEADERS = [
    *("If-Match", "If-None-Match", "Prefer", "Accept", "Content-Type", "Idempotency-Key", "traceparent"),
    *("Last-Event-ID", "Content-Encoding", "Authorization"),
]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(JSON, min_size=2, max_size=2).map(lambda value: json.dumps(value).encode()),
    st.lists(st.text(max_size=30), min_size=2, max_size=2).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["1", "9" * 18, "9" * 19, "-1", "0", "\u0661"]).map(
        lambda value: json.dumps([value, ""]).encode()
    ),
)
TOKENS = st.one_of(
    CONTENTS.map(lambda content: base64.urlsafe_b64encode(content).decode()),
    st.text(max_size=20),
)
VALUES = st.one_of(
    st.text(max_size=20).map(lambda text: quote(text.encode("utf-8", "surrogatepass"))),
    st.binary(max_size=10).map(quote),
    st.text('%09afzZ~:-T.+,"*W/=;', max_size=30),
    st.sampled_from(
        ["9" * 30, "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00"]
    ),
    st.sampled_from(
        [f"tickets/client-123%0A{'9' * 30}%0AAAAA%0A", "1~00000000", "%00", "%ED%A0%80", "%FF", "%"]
    ),
)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[AnyStore]:
    url: str = request.getfixturevalue(f"{request.param}_url")
    opened: AnyStore = (
        SqliteStore(Path(url.removeprefix("sqlite:///")), TABLES)
        if request.param == "sqlite"
        else PostgresStore(url, TABLES)
    )
    yield opened
    opened.close()


@pytest.fixture
def both(store: AnyStore, tmp_path: Path) -> Iterator[Web]:
    """The edge over either store, with a user who has a ticket."""
    with web_over(store, tmp_path) as web:
        assert web.client.put(USER, json={"email": "user@example.com"}).status_code == 201
        assert web.client.post(TICKET).status_code == 201
        yield web


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


def fuzzed(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("examples", forms(short=30, full=10_000))
def test_any_token_is_a_page_or_a_400(both: Web, examples: int) -> None:
    @fuzzed(examples)
    @given(path=st.sampled_from(LISTS), text=TOKENS)
    def check(path: str, text: str) -> None:
        sign = "&" if "?" in path else "?"
        answer = both.client.get(
            f"{path}{sign}continuationToken={quote(text.encode('utf-8', 'surrogatepass'))}"
        )
        assert answer.status_code in (200, 400), (path, text, answer.text)

    check()


@pytest.mark.parametrize("examples", forms(short=30, full=10_000))
def test_any_query_and_header_is_answered(both: Web, examples: int) -> None:
    @fuzzed(examples)
    @given(
        path=st.sampled_from([f"{read}?" for read in READS] + [TICKET.replace("user-123", "")]),
        names=st.lists(st.sampled_from(PARAMETERS), max_size=3),
        values=st.lists(VALUES, min_size=3, max_size=3),
        header=st.sampled_from(HEADERS),
        value=st.one_of(st.binary(max_size=30), VALUES.map(str.encode)),
    )
    def check(path: str, names: list[str], values: list[str], header: str, value: bytes) -> None:
        query = "&".join(f"{name}={given}" for name, given in zip(names, values, strict=False))
        url = both.client.base_url.copy_with(raw_path=f"{path}{query}".encode("ascii", "replace"))
        answer = both.client.get(url, headers=[(header.encode(), value)])
        assert answer.status_code < 500, (url, header, value, answer.text)

    check()


@pytest.mark.parametrize("examples", forms(short=100, full=10_000))
def test_any_retry_after_is_a_time(examples: int) -> None:
    @fuzzed(examples)
    @given(st.one_of(st.text(max_size=40), st.text("0123456789 ,:+-JanMonGMT()", max_size=40)))
    def check(text: str) -> None:
        assert _retry_after(text).total_seconds() >= 0

    check()
