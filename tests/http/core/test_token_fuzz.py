"""No token, signed or not, raises anything but the 401 (Hypothesis)."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interface.http.core.authentication import TokenVerifier
from interface.http.core.problems import Unauthenticated
from tests.http.core.test_authentication import ISSUER, signed, verifier
from tests.support.lanes import FUZZ_CASES

VERIFIER = verifier()
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": "tickets", "sub": "alice", "exp": 2_000_000_000}
CLAIMS = ["iss", "aud", "sub", "exp", "nbf", "iat", "permissions", "clients", "nonce", "events"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.sampled_from(["tickets", ISSUER, "at+jwt", "EdDSA", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
HEADERS = st.dictionaries(st.sampled_from(["typ", "kid", "crit", "b64", "x"]), JSON, max_size=2).map(
    lambda header: json.dumps({"alg": "EdDSA", **header}).encode()
)
CHANGED = st.dictionaries(st.sampled_from(CLAIMS), JSON, max_size=3).map(
    lambda claims: json.dumps({**GOOD, **claims}).encode()
)
TOKENS = st.one_of(
    st.builds(signed, HEADERS, CHANGED),
    st.builds(signed, HEADERS, st.binary(max_size=50)),
    st.builds(signed, st.binary(max_size=50), CHANGED),
    st.builds(
        signed, st.just(b'{"alg":"EdDSA"}'), st.integers(1, 5000).map(lambda depth: b'{"a":' + b"[" * depth)
    ),
    st.text(st.characters(codec=None), max_size=50),
    st.lists(st.binary(max_size=20).map(lambda part: part.hex()), max_size=5).map(".".join),
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


@pytest.mark.parametrize("examples", FUZZ_CASES)
def test_any_token_is_either_valid_or_a_401(examples: int) -> None:
    with asyncio.Runner() as runner:

        @settings(max_examples=examples)
        @given(TOKENS)
        def check(token: str) -> None:
            runner.run(_caller(VERIFIER, token))

        check()
