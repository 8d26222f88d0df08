"""The key set behind a URL, on real sockets: known keys never wait for the issuer, and one fetch serves all who wait."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from application.shared.errors import KeysUnavailable
from interface.http.core.authentication import TokenVerifier
from interface.http.core.problems import InvalidToken
from interface.outbound.keys.issuer_keys import MAX_BYTES, IssuerKeys
from tests.support.receiver import HANGS, Receiver, answer, receiving

ED = Ed25519PrivateKey.generate()
LONG = 600  # seconds; longer than any test
KNOWN = "known"


def key_set(*kids: str) -> bytes:
    public = OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True)
    return json.dumps({"keys": [{**public, "kid": kid} for kid in kids]}).encode()


def token(number: int, kid: str = KNOWN, algorithm: str = "EdDSA") -> str:
    claims = {
        "iss": "idp",
        "aud": "tickets",
        "sub": f"caller-{number}",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    key: Any = None if algorithm == "none" else ED
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


class Issuer:
    """A scripted issuer, and a clock that moves by hand."""

    def __init__(self) -> None:
        self.response: bytes | None = answer(200, body=key_set(KNOWN))
        self.released = threading.Event()
        self.holds_back = False
        self.now = 0.0
        self.ages: list[float] = []

    def behave(self, _: object) -> bytes | None:
        if self.holds_back:
            assert self.released.wait(60)
        return self.response

    def keys(self, receiver: Receiver, **changes: Any) -> IssuerKeys:
        terms = {"lifespan_seconds": 300, "cooldown_seconds": 30, "stale_seconds": 1000, "wait_seconds": LONG}
        return IssuerKeys(
            receiver.url("/jwks"), clock=lambda: self.now, observe=self.ages.append, **{**terms, **changes}
        )


def run(
    test: Callable[[Issuer, Receiver], Coroutine[Any, Any, None]],
) -> None:
    issuer = Issuer()
    with receiving(issuer.behave) as receiver:
        try:
            asyncio.run(test(issuer, receiver))
        finally:
            issuer.released.set()


def verifier(keys: IssuerKeys) -> TokenVerifier:
    return TokenVerifier(keys, issuer="idp", audience="tickets")


async def answers(verifier: TokenVerifier, tokens: Sequence[str]) -> list[str]:
    callers = await asyncio.gather(*(verifier.caller([f"Bearer {token}"]) for token in tokens))
    return [caller.actor for caller in callers]


async def refused(keys: IssuerKeys, kid: str) -> type[Exception]:
    with pytest.raises((InvalidToken, KeysUnavailable)) as raised:
        await verifier(keys).caller([f"Bearer {token(0, kid)}"])
    return raised.type


@asynccontextmanager
async def fetching(keys: IssuerKeys) -> AsyncIterator[None]:
    """Fetch in the background, as a server does."""
    task = asyncio.create_task(keys.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


NAMES = [f"caller-{number}" for number in range(8)]


def test_the_set_is_fetched_once_for_all_who_wait() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver)

        assert await answers(verifier(keys), [token(number) for number in range(8)]) == NAMES
        assert len(receiver.received) == 1

    run(test)


def test_eight_new_tokens_of_a_known_key_are_accepted_while_the_issuer_hangs() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver)
        await keys.find(KNOWN, "EdDSA")
        issuer.response = HANGS
        issuer.now += 299
        async with fetching(keys):
            await until(lambda: len(receiver.received) == 2)
            issuer.now += 900

            assert await answers(verifier(keys), [token(number) for number in range(8)]) == NAMES
            assert keys.status() == (
                True,
                "the token issuer's key set cannot be fetched; it is 1199 seconds old",
            )

    run(test)


@pytest.mark.parametrize("algorithm", ["EdDSA", "none"])
def test_45_tokens_of_unknown_keys_do_not_delay_good_ones(algorithm: str) -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver)
        verifying = verifier(keys)
        await answers(verifying, [token(0)])
        issuer.now += 31
        issuer.holds_back = True
        unknown = [
            asyncio.create_task(answers(verifying, [token(number, f"made-up-{number}", algorithm)]))
            for number in range(45)
        ]
        await asyncio.sleep(0)

        assert await answers(verifying, [token(number) for number in range(8)]) == NAMES
        still_waiting = sum(not task.done() for task in unknown)
        issuer.released.set()
        found = await asyncio.gather(*unknown, return_exceptions=True)

        assert {type(error) for error in found} == {InvalidToken}
        assert still_waiting == (45 if algorithm == "EdDSA" else 0)
        assert len(receiver.received) == (2 if algorithm == "EdDSA" else 1)

    run(test)


def test_a_key_that_is_new_in_the_set_is_found_and_a_withdrawn_one_is_refused() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver, cooldown_seconds=0)
        verifying = verifier(keys)
        old = token(1)
        await answers(verifying, [old])
        issuer.response = answer(200, body=key_set("new"))

        assert await answers(verifying, [token(2, "new")]) == ["caller-2"]
        assert await refused(keys, KNOWN) is InvalidToken

    run(test)


def test_an_unknown_key_is_fetched_before_a_key_without_kid_is_tried() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        nameless = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate().public_key(), as_dict=True)
        issuer.response = answer(200, body=json.dumps({"keys": [nameless]}).encode())
        keys = issuer.keys(receiver)
        assert await refused(keys, "new") is InvalidToken
        named = json.loads(key_set("new"))["keys"]
        issuer.response = answer(200, body=json.dumps({"keys": [nameless, *named]}).encode())
        assert await refused(keys, "new") is InvalidToken
        assert len(receiver.received) == 1

        issuer.now += 30
        assert await answers(verifier(keys), [token(1, "new")]) == ["caller-1"]

    run(test)


def test_a_key_without_kid_verifies_any_kid_while_the_issuer_fails() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        nameless = json.dumps({"keys": [OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True)]}).encode()
        issuer.response = answer(200, body=nameless)
        keys = issuer.keys(receiver)
        assert await answers(verifier(keys), [token(1)]) == ["caller-1"]
        issuer.response = answer(500)
        issuer.now += 30

        assert await answers(verifier(keys), [token(1)]) == ["caller-1"]
        assert len(receiver.received) == 2

    run(test)


def test_unknown_keys_cause_one_fetch_per_cooldown() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver)
        await keys.find(KNOWN, "EdDSA")

        assert {await refused(keys, f"made-up-{number}") for number in range(10)} == {InvalidToken}
        assert len(receiver.received) == 1
        issuer.now += 30
        assert {await refused(keys, f"made-up-{number}") for number in range(10)} == {InvalidToken}
        assert len(receiver.received) == 2

    run(test)


@pytest.mark.parametrize(
    ("response", "reported"),
    [
        (answer(500), "responded with 500"),
        (answer(302, "Location: /elsewhere"), "responded with 302: redirects are not followed"),
        (answer(200, body=b"<html>"), "it is not JSON"),
        (answer(200, body=b"{}"), "it is not a key set"),
        (answer(200, body=b"[" * 100_000), "it is not JSON"),
        (answer(200, body=b" " * (MAX_BYTES + 1)), "it is larger than 256 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{", "it is not JSON"),
        (b"nonsense\r\n\r\n", "the connection was lost"),
    ],
    ids=range(8),
)
def test_a_failed_fetch_cools_down_and_is_logged(
    response: bytes, reported: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        issuer.response = response
        keys = issuer.keys(receiver)

        assert {await refused(keys, KNOWN) for _ in range(5)} == {KeysUnavailable}
        assert len(receiver.received) == 1
        assert keys.status() == (False, "no valid key of the token issuer is known")
        issuer.now += 30
        issuer.response = answer(200, body=key_set(KNOWN))
        assert await answers(verifier(keys), [token(1)]) == ["caller-1"]
        assert keys.status() == (True, "")
        assert issuer.ages == [0, 0]

    run(test)
    assert f"the token issuer's key set cannot be fetched: {reported}" in caplog.text
    assert "no token is accepted" in caplog.text
    assert "127.0.0.1" not in caplog.text


def test_an_unexpected_fault_is_a_failed_fetch_and_is_logged_without_its_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = "s3cret"

    def fail(_: object) -> None:
        raise RecursionError(content)

    async def test(issuer: Issuer, receiver: Receiver) -> None:
        monkeypatch.setattr("interface.outbound.keys.issuer_keys.read_key_set", fail)
        assert await refused(issuer.keys(receiver), KNOWN) is KeysUnavailable

    run(test)
    assert "cannot be fetched: RecursionError in" in caplog.text
    assert "cannot be fetched: RecursionError; no token is accepted" in caplog.text
    assert content not in caplog.text


def test_the_last_good_set_is_used_for_a_bounded_time_while_the_issuer_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver)
        verifying = verifier(keys)
        known = token(1)
        await answers(verifying, [known])
        issuer.response = answer(503)
        issuer.now = 1300

        assert await answers(verifying, [known, token(2)]) == ["caller-1", "caller-2"]
        assert await refused(keys, "made-up") is KeysUnavailable
        issuer.now = 1301
        with pytest.raises(KeysUnavailable):  # also for a token that was verified before
            await verifying.caller([f"Bearer {known}"])
        assert issuer.ages == [0, 1300]

    run(test)
    assert "tokens of its 1 known keys are accepted for 0 s more" in caplog.text


def test_an_empty_set_withdraws_every_key_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver)
        await keys.find(KNOWN, "EdDSA")
        issuer.response, issuer.now = answer(200, body=b'{"keys": []}'), 300

        assert await refused(keys, "unknown") is InvalidToken
        assert keys.status()[0] is False

    run(test)
    assert "the token issuer's key set has no accepted key: no token is accepted" in caplog.text


def test_a_caller_with_an_unknown_key_waits_for_a_bounded_time() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        issuer.response = HANGS
        keys = issuer.keys(receiver, wait_seconds=0.01)

        assert await refused(keys, KNOWN) is KeysUnavailable

    run(test)


def test_the_set_is_fetched_again_before_its_lifespan_and_after_failures() -> None:
    async def test(issuer: Issuer, receiver: Receiver) -> None:
        keys = issuer.keys(receiver, lifespan_seconds=0.05)
        async with fetching(keys):
            await until(lambda: len(receiver.received) > 2)
            issuer.response = answer(500)
            await until(lambda: keys._failures)
            issuer.response = answer(200, body=key_set("new"))
            await until(lambda: keys._set.candidates("new", "EdDSA"))

    run(test)
