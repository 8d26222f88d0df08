"""Each boundary turns every fault of foreign input into its own error, for any input.

Tokens, cursors, user files and evidence have their own tests.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from application.record.checkpoint import parse_checkpoint_text
from application.record.eras import parse_event_id
from application.record.streams import parse_column_date
from application.subscriptions.define_subscription import origin_of
from application.subscriptions.records import TargetRefused
from interface.cli.record.commands import _moment
from interface.http.core.headers import (
    Headers,
    idempotency_key,
    is_json,
    names_tag,
    precondition,
    preferred_type,
    preferred_wait,
)
from interface.http.core.problems import Malformed
from interface.http.core.rate_limits import parse_limit
from interface.outbound.brokers.broker_url import parse_broker_url
from interface.outbound.files.cursor_file import CursorRefused, open_cursor
from interface.outbound.http_out.outgoing_http import _retry_after
from interface.outbound.http_out.set_sender import _error
from interface.outbound.keys.outbox_keys import parse_outbox_keys
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.keys.token_key import TokenKey
from interface.outbound.mail.mail_composer import parse_sender
from interface.outbound.mail.smtp import parse_smtp_url
from interface.outbound.mail.templates import Templates
from interface.trace_context import parse_traceparent
from tests.support.foreign import foreign_bytes, foreign_text, fuzz
from tests.support.lanes import FUZZ_CASES

PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n"


class Boundary(NamedTuple):
    """A parser of text. faults: the errors that its callers expect; an empty tuple: it always returns."""

    parse: Callable[[str], object]
    faults: tuple[type[BaseException], ...]
    examples: tuple[str, ...]


def headers_of(name: str, parse: Callable[[Headers], object]) -> Callable[[str], object]:
    """Return a parser of one header, whose value a server receives as bytes."""
    return lambda text: parse(Headers([(name.encode(), text.encode("utf-8", "surrogatepass"))]))


TEXTS = {
    "url of a subscriber": Boundary(
        lambda text: origin_of(text, ["localhost"]),
        (TargetRefused,),
        ("https://siem.example/hook?a=b", "http://localhost:8080/", "https://[2001:db8::1]:443/x"),
    ),
    "url of a broker": Boundary(
        parse_broker_url, (ValueError,), ("nats://bob:s3cret@n.example:4222", "kafka+ssl://b:2,[::1]:3")
    ),
    "url of a mail server": Boundary(
        parse_smtp_url, (ValueError,), ("smtp://bob:s3cret@m.example:587", "smtp+plain://[::1]:25")
    ),
    "sender of mails": Boundary(
        parse_sender, (ValueError,), ("Tickets <tickets@bank.example>", "a@b.example")
    ),
    "keys of the outbox": Boundary(
        parse_outbox_keys, (ValueError,), ("A" * 43 + "=", "A" * 43 + "=, " + "B" * 43 + "=")
    ),
    "text of a checkpoint": Boundary(
        parse_checkpoint_text, (ValueError,), ("tickets/client-1\n7\n" + "A" * 43 + "=\nheads 3 AAAA\n\n",)
    ),
    "id of an event": Boundary(parse_event_id, (ValueError,), ("42", "42~0a1b2c3d")),
    "time of a column": Boundary(parse_column_date, (ValueError,), ("2026-03-03T12:00:00.000000+00:00",)),
    "time of a command": Boundary(
        _moment, (SystemExit,), ("2026-03-03T12:00:00Z", "2026-03-03T12:00:00.5+01:00")
    ),
    "rate limit": Boundary(parse_limit, (ValueError,), ("600/minute", "off", "10 per 3 hours")),
    "traceparent": Boundary(
        parse_traceparent, (), ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",)
    ),
    "Idempotency-Key": Boundary(
        headers_of("idempotency-key", idempotency_key), (Malformed,), ("7c0ec4b2", "a b")
    ),
    "If-Match": Boundary(headers_of("if-match", precondition), (Malformed,), ('"7"', "*", '"7", W/"8u"')),
    "If-None-Match": Boundary(
        headers_of("if-none-match", lambda headers: names_tag(headers, '"7"')),
        (Malformed,),
        ('"7"', 'W/"7", "8"'),
    ),
    "Prefer": Boundary(headers_of("prefer", preferred_wait), (), ("wait=10", 'respond-async, wait="5"; x=y')),
    "Accept": Boundary(
        headers_of("accept", lambda headers: preferred_type(headers, ["application/json", "text/csv"])),
        (),
        ("application/json;q=0.5, */*;q=0.1", "text/*"),
    ),
    "Content-Type": Boundary(headers_of("content-type", is_json), (), ("application/json; charset=utf-8",)),
    "Retry-After": Boundary(
        _retry_after, (), ("120", "Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 21 Oct 2026 07:28:00 -9999")
    ),
}


@pytest.mark.parametrize("count", FUZZ_CASES)
@pytest.mark.parametrize("boundary", [pytest.param(boundary, id=name) for name, boundary in TEXTS.items()])
def test_every_text_is_accepted_or_refused_by_an_expected_error(boundary: Boundary, count: int) -> None:
    def check(text: str) -> None:
        with suppress(*boundary.faults):
            boundary.parse(text)

    for example in boundary.examples:
        boundary.parse(example)
    fuzz(check, foreign_text(boundary.examples), count)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_every_response_of_a_receiver_of_security_events_is_an_error_text(count: int) -> None:
    def check(content: bytes) -> None:
        assert _error(content).isprintable()

    fuzz(check, foreign_bytes(['{"err": "invalid_audience", "description": "x"}']), count)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_every_cursor_file_is_read_or_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "cursor.json"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(CursorRefused), open_cursor(path, "nats://n:1") as cursor:
            cursor.last("client-1")

    fuzz(
        check,
        foreign_bytes(['{"of": "nats://n:1", "positions": {"client-1": "7~0a1b2c3d", "client-2": 3}}']),
        count,
    )


@pytest.mark.parametrize("count", FUZZ_CASES)
@pytest.mark.parametrize("kind", [SetKeys, TokenKey])
def test_every_key_file_is_used_or_refused(tmp_path: Path, kind: Any, count: int) -> None:
    path = tmp_path / "key.pem"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o600)
        with suppress(ValueError):
            kind(path)

    fuzz(check, foreign_bytes([PEM]), count)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_every_template_is_accepted_or_its_fault_is_reported(tmp_path: Path, count: int) -> None:
    directory = tmp_path / "client-1" / "en"
    directory.mkdir(parents=True)

    def check(content: bytes) -> None:
        (directory / "mail.txt").write_bytes(content)
        texts = Templates(tmp_path, language="en", time_zone=ZoneInfo("Europe/Zurich"))
        assert all(isinstance(fault, str) for fault in texts._faults("client-1/en/mail.txt"))

    fuzz(check, foreign_bytes(["Hello {{ name }}: {{ ticket }}\n{% if name %}x{% endif %}"]), count)
