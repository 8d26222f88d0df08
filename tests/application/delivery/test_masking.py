"""Masking shows exactly the promised characters of any address."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from application.delivery.masking import masked
from application.users.fields import AddressLine, Email
from domain.policies.policy import SendingMethod
from domain.users.recipient import Recipient
from tests.support.fakes import NOW

MAIL = (SendingMethod.EMAIL, SendingMethod.HTML_EMAIL, SendingMethod.PDF_EMAIL)
ATOM = st.text("abcXYZ019!#$%&'*+/=^_`{|}~-", min_size=1, max_size=12)
LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?", fullmatch=True)
LOCAL = st.lists(ATOM, min_size=1, max_size=4).map(".".join)
DOMAIN = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
EMAILS = st.builds("{}@{}".format, LOCAL, DOMAIN)
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)
RECIPIENT = Recipient(
    client_ext_id="client-123",
    user_ext_id="user-123",
    email="una@example.com",
    name="Una User",
    language="de",
    postal_address=("Bahnhofstrasse 1", "8001 Zürich"),
    created=NOW,
    last_modified=NOW,
    version=1,
)


def by_mail(email: str) -> str | None:
    return masked(replace(RECIPIENT, email=email), SendingMethod.EMAIL)


def by_letter(*lines: str) -> str | None:
    return masked(replace(RECIPIENT, postal_address=lines), SendingMethod.PDF_STORE)


@pytest.mark.parametrize(
    ("email", "shown"),
    [
        ("una@example.com", "u***@e***.com"),
        ("una.user+tickets@mail.bank.example", "u***@m***.example"),
        ("u@e.ch", "u***@e***.ch"),
        ("root@localhost", "r***@l***"),
        ("a@b", "a***@b***"),
        ("%@xn--zrich-kva.ch", "%***@x***.ch"),
    ],
)
def test_a_masked_mail_address_shows_first_letters_and_the_top_level_domain(email: str, shown: str) -> None:
    assert by_mail(email) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("8001 Zürich", "8*** Z***"),
        ("SW1A 1AA", "S*** 1***"),
        ("A B", "A*** B***"),
        ("東京都千代田区", "東***"),
        ("मुंबई ४००००१", "म*** ४***"),
        ("8001  Zu\N{COMBINING DIAERESIS}rich-Su\N{COMBINING DIAERESIS}d", "8***  Z***"),
        ("O'Brien-St.Gallen", "O***"),
        ("1.2.3.4", "1***"),
    ],
)
def test_a_masked_postal_address_shows_the_first_letters_of_the_last_line(line: str, shown: str) -> None:
    assert by_letter("Una User", "Bahnhofstrasse 1", line) == shown


@given(local=LOCAL, name=DOMAIN, top=LABEL)
def test_a_masked_mail_address_hides_its_length(local: str, name: str, top: str) -> None:
    assert by_mail(f"{local}@{name}.{top}") == f"{local[0]}***@{name[0]}***.{top}"
    assert by_mail(f"{local}@{top}") == f"{local[0]}***@{top[0]}***"


@given(line=LINES, others=st.lists(LINES, max_size=5))
def test_a_masked_postal_address_hides_the_rest_of_each_word(line: str, others: list[str]) -> None:
    shown = by_letter(*others, line) or ""

    assert shown.split() == [f"{word[0]}***" for word in line.split()]
    assert by_letter(line) == shown


@given(email=EMAILS | st.text(max_size=30), line=LINES)
def test_every_valid_address_can_be_masked(email: str, line: str) -> None:
    for text, kind, mask in ((email, Email, by_mail), (line, AddressLine, by_letter)):
        try:
            TypeAdapter[str](kind).validate_python(text)
        except ValidationError:
            continue
        assert mask(text) is not None


@pytest.mark.parametrize("method", SendingMethod)
def test_an_address_is_shown_only_for_its_own_method(method: SendingMethod) -> None:
    expected = (
        "u***@e***.com" if method in MAIL else "8*** Z***" if method is SendingMethod.PDF_STORE else None
    )

    assert masked(RECIPIENT, method) == expected
    assert masked(replace(RECIPIENT, email=None, postal_address=None), method) is None
