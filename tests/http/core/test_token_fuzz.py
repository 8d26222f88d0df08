"""No token, signed or not, raises anything but the 401 (Hypothesis)."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import strategies as st

from interface.http.core.authentication import TokenVerifier
from interface.http.core.problems import Unauthenticated
from tests.http.core.test_authentication import ISSUER, signed, verifier
from tests.support.foreign import foreign_bytes, foreign_object, foreign_text, fuzz
from tests.support.lanes import FUZZ_CASES

VERIFIER = verifier()
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": "tickets", "sub": "alice", "exp": 2_000_000_000}


def encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


CLAIMS = ["iss", "aud", "sub", "exp", "nbf", "iat", "permissions", "clients", "nonce", "events"]
HEADERS = foreign_object([{"alg": "EdDSA"}], ["typ", "kid", "crit", "b64", "x"])
CHANGED = foreign_object([GOOD], CLAIMS)
TOKENS = st.one_of(
    st.builds(signed, HEADERS.map(encoded), CHANGED.map(encoded)),
    st.builds(signed, HEADERS.map(encoded), foreign_bytes([json.dumps(GOOD)])),
    st.builds(signed, foreign_bytes(['{"alg": "EdDSA"}']), CHANGED.map(encoded)),
    foreign_text([signed(b'{"alg": "EdDSA"}', encoded(GOOD)), "a.b.c"]),
)


async def _caller(verifier: TokenVerifier, token: str) -> None:
    try:
        found = await verifier.caller([f"Bearer {token}"])
    except Unauthenticated:
        return
    assert found.actor.isprintable()
    assert 0 < len(found.actor) <= 255
    for names in (found.permissions, found.clients):
        assert all(isinstance(name, str) and name.encode() for name in names)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_any_token_is_either_valid_or_a_401(count: int) -> None:
    with asyncio.Runner() as runner:
        fuzz(lambda token: runner.run(_caller(VERIFIER, token)), TOKENS, count)
