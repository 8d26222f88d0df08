"""Tokens are verified by the service's own key, a key set in a file, and a key set behind a URL."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from interface.http.core.authentication import (
    CLOCK_SKEW_SECONDS,
    Caller,
    KeyFinder,
    TokenVerifier,
    keys_from_set,
    keys_from_url,
)
from interface.http.core.problems import (
    ClientDenied,
    InvalidToken,
    KeysUnavailable,
    PermissionDenied,
    Unauthenticated,
)

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: list[tuple[str, Any, dict[str, Any]]] = [
    ("RS256", RSA, RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)),
    ("ES256", EC, ECAlgorithm.to_jwk(EC.public_key(), as_dict=True)),
    ("EdDSA", ED, OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True)),
]


def key_set(*algorithms: str) -> dict[str, Any]:
    return {
        "keys": [
            {**jwk, "kid": name, "use": "sig", "alg": name} for name, _, jwk in KEYS if name in algorithms
        ]
    }


def token(algorithm: str, kid: str | None = None, **changes: Any) -> str:
    claims = {
        "iss": "https://issuer.example",
        "aud": "tickets",
        "sub": "alice",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
        "permissions": ["A", "B"],
        "clients": ["client-123"],
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    key = next(key for name, key, _ in KEYS if name == algorithm)
    return jwt.encode(claims, key, algorithm, headers={"kid": kid or algorithm})


def verifier(find_key: KeyFinder) -> TokenVerifier:
    return TokenVerifier(find_key, issuer="https://issuer.example", audience="tickets", trust_seconds=300)


@pytest.fixture
def everything() -> TokenVerifier:
    return verifier(keys_from_set(jwt.PyJWKSet.from_dict(key_set("RS256", "ES256", "EdDSA"))))


def caller(verifier: TokenVerifier, token: str) -> Caller:
    return verifier._verify(token)[0]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_the_three_algorithms_are_accepted(everything: TokenVerifier, algorithm: str) -> None:
    assert caller(everything, token(algorithm)) == Caller("alice", frozenset("AB"), frozenset({"client-123"}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"aud": None},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "\x00"},
        {"permissions": "A"},
        {"permissions": [1]},
        {"clients": {"client-123": True}},
        {"exp": 1},
        {"nbf": 2**40},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_not_accepted(everything: TokenVerifier, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        caller(everything, token("EdDSA", **wrong))


def test_an_unsigned_token_is_not_accepted(everything: TokenVerifier) -> None:
    unsigned = jwt.encode({"sub": "alice"}, "", "none", headers={"kid": "RS256"})

    with pytest.raises(InvalidToken):
        caller(everything, unsigned)


def test_a_token_signed_with_another_key_of_the_set_is_not_accepted(everything: TokenVerifier) -> None:
    with pytest.raises(InvalidToken):
        caller(everything, token("RS256", kid="ES256"))


@pytest.mark.parametrize("garbage", ["", "x", "a.b.c", "ey.ey.ey", "é", "a" * 10_000])
def test_a_malformed_token_is_not_accepted(everything: TokenVerifier, garbage: str) -> None:
    with pytest.raises(InvalidToken):
        caller(everything, garbage)


@pytest.mark.parametrize(
    "headers", [[], [""], ["Bearer"], ["Bearer "], ["Basic YTpi"], ["token"], ["Bearer a", "Bearer a"]]
)
def test_a_request_without_a_bearer_token_is_unauthenticated(
    everything: TokenVerifier, headers: list[str]
) -> None:
    with pytest.raises(Unauthenticated):
        asyncio.run(everything.caller(headers))


def test_a_caller_needs_every_permission_and_the_client() -> None:
    caller = Caller("alice", frozenset({"A"}), frozenset({"client-123"}))

    caller.demand("client-123", ("A",))
    with pytest.raises(PermissionDenied, match="B"):
        caller.demand("client-123", ("A", "B"))
    with pytest.raises(ClientDenied):
        caller.demand("client-9", ("A",))
    Caller("root", frozenset({"A"}), frozenset({"*"})).demand("client-9", ("A",))


class KeyServer(HTTPServer):
    """Serves a key set that the test may change, or fails."""

    keys = key_set("RS256")
    fetches = 0
    broken = False


class _Handler(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        self.server.fetches += 1
        self.send_response(500 if self.server.broken else 200)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.keys).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def over_url(server: KeyServer, cooldown_seconds: int) -> TokenVerifier:
    url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    return verifier(keys_from_url(url, lifespan_seconds=300, cooldown_seconds=cooldown_seconds))


def test_a_key_set_behind_a_url_is_fetched_once(key_server: KeyServer) -> None:
    verifier = over_url(key_server, 30)

    for _ in range(5):
        caller(verifier, token("RS256"))

    assert key_server.fetches == 1


def test_a_key_that_is_new_in_the_set_is_found(key_server: KeyServer) -> None:
    verifier = over_url(key_server, 0)
    caller(verifier, token("RS256"))
    key_server.keys = key_set("ES256")

    assert caller(verifier, token("ES256")).actor == "alice"
    with pytest.raises(InvalidToken):
        caller(verifier, token("RS256"))


def test_unknown_key_ids_do_not_cause_repeated_fetches(key_server: KeyServer) -> None:
    verifier = over_url(key_server, 30)
    caller(verifier, token("RS256"))

    for number in range(10):
        with pytest.raises(InvalidToken):
            caller(verifier, token("RS256", kid=f"made-up-{number}"))

    assert key_server.fetches == 1


def test_an_unreachable_key_set_is_a_503_and_not_the_callers_fault(key_server: KeyServer) -> None:
    key_server.broken = True

    with pytest.raises(KeysUnavailable):
        caller(over_url(key_server, 30), token("RS256"))


def cached(trust_seconds: float) -> tuple[TokenVerifier, list[str], list[float]]:
    """A verifier, the tokens for which it looked for a key, and its clock."""
    asked: list[str] = []
    now = [time.time()]
    keys = keys_from_set(jwt.PyJWKSet.from_dict(key_set("EdDSA")))

    def find_key(token: str) -> Any:
        asked.append(token)
        return keys(token)

    found = TokenVerifier(
        find_key,
        issuer="https://issuer.example",
        audience="tickets",
        trust_seconds=trust_seconds,
        timer=lambda: now[0],
    )
    return found, asked, now


def test_a_token_is_verified_once_and_then_known() -> None:
    verifier, asked, _ = cached(300)
    known = token("EdDSA")

    callers = [asyncio.run(verifier.caller([f"Bearer {known}"])) for _ in range(3)]

    assert len(asked) == 1
    assert len(set(callers)) == 1
    content, signature_of_another = known.rpartition(".")[0], token("EdDSA", sub="bob").rpartition(".")[2]
    with pytest.raises(InvalidToken):
        asyncio.run(verifier.caller([f"Bearer {content}.{signature_of_another}"]))


def test_a_known_token_is_refused_once_it_has_expired() -> None:
    verifier, _, now = cached(10**6)
    short = token("EdDSA", exp=int(now[0]) + 1)
    asyncio.run(verifier.caller([f"Bearer {short}"]))

    now[0] += CLOCK_SKEW_SECONDS + 2

    assert hashlib.sha256(short.encode()).digest() not in verifier._known


def test_a_known_token_is_verified_again_after_the_key_sets_lifespan() -> None:
    verifier, asked, now = cached(300)
    known = token("EdDSA")
    asyncio.run(verifier.caller([f"Bearer {known}"]))

    now[0] += 301
    asyncio.run(verifier.caller([f"Bearer {known}"]))

    assert len(asked) == 2
