from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interface.outbound.brokers.broker_url import BrokerUrl, parse_broker_url
from interface.outbound.brokers.nats_broker import subject_token


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("nats://127.0.0.1:4222", BrokerUrl("nats", ("127.0.0.1:4222",))),
        ("tls://bob:s3cr%3Aet%40@n.example:4222/", BrokerUrl("tls", ("n.example:4222",), "bob", "s3cr:et@")),
        ("nats://token@n:1", BrokerUrl("nats", ("n:1",), "token")),
        ("kafka+ssl://b:2,[::1]:3,a:1", BrokerUrl("kafka+ssl", ("[::1]:3", "a:1", "b:2"))),
    ],
)
def test_a_url_contains_address_and_login(text: str, url: BrokerUrl) -> None:
    assert parse_broker_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "nats://", "nats://host", "http://host:1", "nats://host:1,", "nats://a@b@host:1", "host:1"]
)
def test_an_invalid_broker_url_is_rejected_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="the broker must be") as refused:
        parse_broker_url(text)

    assert not text or text not in str(refused.value).split()


def test_the_login_is_not_shown() -> None:
    url = parse_broker_url("kafka://bob:geheim@b:2,a:1")

    assert str(url) == "kafka://***@a:1,b:2"
    assert url.address == "kafka://a:1,b:2"
    assert "geheim" not in repr(url)
    assert "bob" not in repr(url)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_a_client_is_one_token_of_a_subject_and_can_be_read_from_it(client: str) -> None:
    token = subject_token(client)

    assert token
    assert not set(token) & set(".*> \t\r\n")
    assert token.isascii()
    assert unquote(token) == client
