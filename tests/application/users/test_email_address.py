"""Mail addresses: the limits of RFC 5321, and no others."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from application.users.email_address import parse_mailbox
from application.users.fields import Email

EMAIL = TypeAdapter[str](Email)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("una@example.com", "example.com"),
        ("Info@example.com", "example.com"),
        ("a.b.c.d.e@example.com", "example.com"),
        ("0123456789abcdef0123456789abcdef@example.com", "example.com"),
        ("x@stud.inf.dept.uni.edu.au", "stud.inf.dept.uni.edu.au"),
        ("!#$%&'*+-/?=^_`{|}~@example.com", "example.com"),
        (f"{'a' * 64}@{'.'.join(['b' * 63] * 2)}.{'c' * 61}", f"{'.'.join(['b' * 63] * 2)}.{'c' * 61}"),
        # Hosts can have them, although no registry permits such names.
        ("una@ab--cd.example", "ab--cd.example"),
        ("una@xn--a.example", "xn--a.example"),
        # As in private networks.
        ("root@localhost", "localhost"),
        ("una@mail.bank.local", "mail.bank.local"),
        ("una@bank.test", "bank.test"),
        ("una@zürich.ch", "xn--zrich-kva.ch"),
        ("una@xn--zrich-kva.ch", "xn--zrich-kva.ch"),
        ("jörg@zürich.ch", "xn--zrich-kva.ch"),
        ("用户@例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_valid_address_is_kept_and_its_domain_is_sent_in_ascii(text: str, domain: str) -> None:
    assert EMAIL.validate_python(text) == text
    assert parse_mailbox(text) == (text.rpartition("@")[0], domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "una",
        "@example.com",
        "una@",
        "una@@example.com",
        "una@example..com",
        "una@-example.com",
        "una@example.com.",
        ".una@example.com",
        "una..user@example.com",
        "una@exa_mple.com",
        "una@example.com\n",
        "una @example.com",
        "una@example.com, eve@example.com",
        "Una <una@example.com>",
        '"una, eve"@example.com',
        "una@[192.0.2.1]",
        "=?utf-8?q?una?=@example.com",
        "una\u202e@example.com",
        "una\u200b@example.com",
        f"{'a' * 65}@example.com",
        f"una@{'b' * 64}.com",
        f"{'a' * 64}@{'.'.join(['b' * 63] * 2)}.{'c' * 62}",
        f"{'ä' * 33}@example.com",
        f"una@{'.'.join(['zürich'] * 36)}",
    ],
)
def test_an_invalid_address_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be an address such as user@example.com\. |at most 254"):
        EMAIL.validate_python(text)


@given(text=st.text() | st.text('a.@-xnü\u0661א\u0301。=?"<>[]()').map(lambda text: f"una@{text}"))
def test_any_text_is_a_mailbox_or_a_value_error(text: str) -> None:
    try:
        parse_mailbox(text)
    except ValueError:
        return
    assert EMAIL.validate_python(text) == text


@given(email=st.emails())
def test_the_format_of_the_schema_describes_the_accepted_addresses(email: str) -> None:
    assert EMAIL.validate_python(email) == email
    assert EMAIL.json_schema()["format"] == "idn-email"


@pytest.mark.parametrize(
    "part", ["a", "a.", "ü", "\u0661", "xn--", "xn--a-", "@", ".", "-", "\u0301", '"', "\\"]
)
def test_a_long_text_costs_no_time(part: str) -> None:
    began = time.process_time()
    for text in (part * 1_000_000, f"a@{part * 1_000_000}", f"a@{part * (252 // len(part))}", part * 254):
        with pytest.raises(ValidationError):
            EMAIL.validate_python(text)

    assert time.process_time() - began < 1
