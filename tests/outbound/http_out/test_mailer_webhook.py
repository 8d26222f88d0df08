"""The mailer receives each ticket by webhook, signed, and encrypted with its key."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from standardwebhooks import Webhook, WebhookVerificationError

from application.delivery.courier import NotDelivered
from application.delivery.outbox import PendingDelivery
from domain.tickets.ticket import ClearTicket
from interface.outbound.http_out.mailer_webhook import MailerKey, MailerWebhook
from interface.outbound.http_out.outgoing_http import to_named_host
from interface.outbound.system import system_clock
from tests.support.fakes import FakeClock
from tests.support.pending import TICKET, sample_pending
from tests.support.receiver import HANGS, Received, Receiver, answer, receiving

SECRET = "whsec_" + base64.b64encode(b"made up for this test, 32 bytes!").decode()
PRIVATE: Any = ECKey.generate_key("P-256")
ALGORITHMS = ["RSA-OAEP-256", "ECDH-ES+A256KW", "A256GCM"]
PATH = "/hooks/t0k3n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return public_half(tmp_path, PRIVATE)


def public_half(directory: Path, key: Any, **changes: Any) -> Path:
    path = directory / "mailer.jwk"
    path.write_text(json.dumps({**key.as_dict(private=False), **changes}))
    return path


def deliver(
    url: str,
    key_file: Path,
    *,
    pending: PendingDelivery | None = None,
    clock: Any = system_clock,
    ticket: ClearTicket = TICKET,
    timeout_seconds: float = 5,
) -> str:
    async def run() -> str:
        http = to_named_host(url, timeout_seconds=timeout_seconds)
        webhook = MailerWebhook(http, url=url, key=MailerKey(key_file), secret=SECRET, clock=clock)
        try:
            return await webhook.deliver(ticket, pending or sample_pending())
        finally:
            await http.close()

    return asyncio.run(run())


def received_by_mailer(key_file: Path, **changes: Any) -> Received:
    with receiving() as receiver:
        assert deliver(receiver.url(PATH), key_file, **changes) == "2xx"
    [request] = receiver.received
    return request


def not_delivered(receiver: Receiver, key_file: Path, **changes: Any) -> str:
    """Return the code and the message of a rejection; `!`: final."""
    with pytest.raises(NotDelivered) as raised:
        deliver(receiver.url(PATH), key_file, **changes)
    for secret in (TICKET.reveal(), "t0k3n", "una@example.com", SECRET):
        assert secret not in str(raised.value)
    return f"{raised.value.answer}{'!' if raised.value.final else ''}: {raised.value}"


def data_of(request: Received) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(request.body)["data"]
    return data


def opened(request: Received, key: Any = PRIVATE) -> dict[str, Any]:
    decrypted = jwe.decrypt_compact(data_of(request)["ticket"], key, algorithms=ALGORITHMS)
    assert decrypted.plaintext is not None
    content: dict[str, Any] = json.loads(decrypted.plaintext)
    return content


def test_the_mailer_can_decrypt_the_ticket_and_the_recipient(key_file: Path) -> None:
    content = opened(
        received_by_mailer(key_file, pending=sample_pending(language="de-CH", time_zone="Europe/Zurich"))
    )

    ticket = content.pop("ticket")
    assert ticket == TICKET.reveal()
    assert content == {
        "clientExtId": "client-123",
        "userExtId": "user-123",
        "validTo": "2026-11-28T09:42:00Z",
        "name": "Una Üser",
        "language": "de-CH",
        "email": "una@example.com",
        "postalAddress": ["Bahnhofstrasse 1", "8001 Zürich"],
        "timeZone": "Europe/Zurich",
    }


def test_unknown_user_data_is_null(key_file: Path) -> None:
    content = opened(
        received_by_mailer(key_file, pending=sample_pending(email=None, name=None, postal_address=None))
    )

    assert [content[name] for name in ("name", "language", "email", "postalAddress", "timeZone")] == [
        None
    ] * 5


def test_the_rest_of_the_request_discloses_neither_ticket_nor_recipient(key_file: Path) -> None:
    request = received_by_mailer(key_file)

    assert json.loads(request.body).keys() == {"type", "timestamp", "data"}
    assert data_of(request).keys() == {"deliveryId", "ticket"}
    header = json.loads(base64.urlsafe_b64decode(data_of(request)["ticket"].split(".")[0] + "=="))
    assert header.keys() == {"alg", "enc", "kid", "cty", "epk"}
    in_the_open = f"{request.path} {request.headers} {request.body!r} {header}"
    for secret in (TICKET.reveal(), "una@example.com", "example.com", "Bahnhof", "client-123", "user-123"):
        assert secret not in in_the_open
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in in_the_open


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048), "RSA-OAEP-256"),
        (ECKey.generate_key("P-256"), "ECDH-ES+A256KW"),
        (ECKey.generate_key("P-384"), "ECDH-ES+A256KW"),
        (ECKey.generate_key("P-521"), "ECDH-ES+A256KW"),
        (OKPKey.generate_key("X25519"), "ECDH-ES+A256KW"),
    ],
    ids=["RSA", "P-256", "P-384", "P-521", "X25519"],
)
def test_only_the_mailers_private_key_opens_it(tmp_path: Path, key: Any, algorithm: str) -> None:
    made = MailerKey(public_half(tmp_path, key, kid="mailer-2026")).encrypt(b"content")

    found = jwe.decrypt_compact(made, key, algorithms=ALGORITHMS)
    assert found.plaintext == b"content"
    assert (found.protected["alg"], found.protected["enc"]) == (algorithm, "A256GCM")
    assert (found.protected["kid"], found.protected["cty"]) == ("mailer-2026", "json")
    other = type(key).generate_key(2048 if algorithm.startswith("RSA") else key.curve_name)
    with pytest.raises((JoseError, ValueError)):
        jwe.decrypt_compact(made, other, algorithms=ALGORITHMS)


def test_a_key_without_a_name_is_named_by_its_thumbprint_and_no_two_encryptions_are_equal(
    key_file: Path,
) -> None:
    key = MailerKey(key_file)
    one, other = key.encrypt(b"content"), key.encrypt(b"content")

    assert one != other
    assert jwe.decrypt_compact(one, PRIVATE, algorithms=ALGORITHMS).protected["kid"] == PRIVATE.thumbprint()


def test_a_modified_request_cannot_be_decrypted(key_file: Path) -> None:
    sealed = MailerKey(key_file).encrypt(b"content").split(".")
    sealed[3] = ("A" if sealed[3][0] != "A" else "B") + sealed[3][1:]

    with pytest.raises((JoseError, ValueError)):
        jwe.decrypt_compact(".".join(sealed), PRIVATE, algorithms=ALGORITHMS)


def test_the_signature_is_that_of_standard_webhooks(key_file: Path) -> None:
    request = received_by_mailer(key_file)

    verified = Webhook(SECRET).verify(request.body, request.headers)
    assert verified["type"] == "ticket.minted"
    assert verified["timestamp"] == "2026-11-23T09:42:00Z"
    assert request.headers["Content-Type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body.replace(b"minted", b"mintes"), request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"another secret").decode()).verify(request.body, request.headers)


def test_an_old_request_cannot_be_replayed(key_file: Path) -> None:
    yesterday = FakeClock(datetime.now(UTC) - timedelta(days=1))
    request = received_by_mailer(key_file, clock=yesterday)

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body, request.headers)


def test_all_attempts_at_a_ticket_have_one_id_and_other_tickets_have_others(key_file: Path) -> None:
    first, again, other = (
        received_by_mailer(key_file, pending=sample_pending(version=version)) for version in (7, 7, 8)
    )

    ids = [data_of(request)["deliveryId"] for request in (first, again, other)]
    assert ids == [request.headers["webhook-id"] for request in (first, again, other)]
    assert ids[0] == ids[1] == sample_pending().entry.delivery_id
    assert ids[2] == sample_pending(version=8).entry.delivery_id != ids[0]


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_means_accepted(key_file: Path, status: int) -> None:
    with receiving(lambda _: answer(status)) as receiver:
        assert deliver(receiver.url(PATH), key_file) == "2xx"


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (answer(410), "410!: the mailer responded with 410"),
        (answer(422, body=b"una@example.com is unknown"), "422!: the mailer responded with 422"),
        (answer(500), "500: the mailer responded with 500"),
        (answer(503, "Retry-After: 60"), "503: the mailer responded with 503"),
        (answer(429), "429: the mailer responded with 429"),
        (answer(400), "400: the mailer responded with 400"),
        (answer(401), "401: the mailer responded with 401"),
        (answer(404), "404: the mailer responded with 404"),
        (
            answer(307, "Location: http://127.0.0.1/una@example.com"),
            "307: the mailer responded with 307: redirects are not followed",
        ),
        (
            b"nonsense\r\n\r\n",
            "no-answer: the mailer's webhook: the connection was lost (ClientResponseError)",
        ),
    ],
)
def test_other_responses_are_reported_by_code_and_final_only_if_permanent(
    key_file: Path, reported: bytes, expected: str
) -> None:
    with receiving(lambda _: reported) as receiver:
        assert not_delivered(receiver, key_file) == expected

    assert len(receiver.received) == 1


def test_a_timeout_is_retried(key_file: Path) -> None:
    with receiving(lambda _: HANGS) as receiver:
        reported = not_delivered(receiver, key_file, timeout_seconds=0.2)

    assert reported == "no-answer: the mailer's webhook: no response within 0.2 seconds"


def test_a_closed_port_is_reported(key_file: Path) -> None:
    with receiving() as receiver:
        pass

    assert not_delivered(receiver, key_file) == "no-answer: the mailer's webhook: cannot connect"


def test_the_ticket_of_an_erased_user_is_still_deliverable(key_file: Path) -> None:
    erased = PendingDelivery(**{**vars(sample_pending()), "recipient": None, "ticket": None})

    content = opened(received_by_mailer(key_file, pending=erased))

    assert content.keys() == {"clientExtId", "userExtId", "ticket", "validTo"}
    assert content["validTo"] is None


RSA: Any = RSAKey.generate_key(2048)
OF_WHICH = "the mailer's key must be RSA of 2048 bits or more, or P-256, P-384, P-521, X25519"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not contain a JWK"),
        (b"\xff\xfe", "does not contain a JWK"),
        (b"-----BEGIN PUBLIC KEY-----", "does not contain a JWK"),
        ([], "does not contain a JWK"),
        (7, "does not contain a JWK"),
        ({}, "does not contain a JWK"),
        ({"keys": [RSA.as_dict(private=False)]}, "does not contain a JWK"),
        ({"kty": "RSA", "n": "!!", "e": "AQAB"}, "does not contain a JWK"),
        ({**PRIVATE.as_dict(private=False), "x": "AAAA"}, "does not contain a JWK"),
        (RSA.as_dict(private=True), "contains a private key; only the public key belongs here"),
        (PRIVATE.as_dict(private=True), "contains a private key; only the public key belongs here"),
        (ECKey.generate_key("secp256k1").as_dict(private=False), OF_WHICH),
        (OKPKey.generate_key("Ed25519").as_dict(private=False), OF_WHICH),
        (OctKey.generate_key(256).as_dict(private=True), OF_WHICH),
        ({**RSA.as_dict(private=False), "use": "sig"}, "encryption with this key fails"),
        ({**RSA.as_dict(private=False), "key_ops": ["verify"]}, "encryption with this key fails"),
    ],
    ids=range(16),
)
def test_an_unusable_key_stops_the_start_and_is_not_shown(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "mailer.jwk"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    with pytest.raises(ValueError, match=r"mailer\.jwk") as raised:
        MailerKey(path)

    assert message in str(raised.value)
    if isinstance(content, dict):
        assert str(content.get("d", "no private half")) not in str(raised.value)


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_weak_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=OF_WHICH):
        MailerKey(public_half(tmp_path, RSAKey.generate_key(1024)))


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MailerKey(tmp_path / "mailer.jwk")
