"""Access tokens: their signature, claims and type, and the cache of verified ones."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from interface.http.core.access_token import CLOCK_SKEW_SECONDS
from interface.http.core.authentication import Caller, TokenVerifier
from interface.http.core.problems import ClientDenied, InvalidToken, PermissionDenied, Unauthenticated
from interface.outbound.keys.key_set import VerificationKey, read_key_set

ISSUER = "https://issuer.example"
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


def token(algorithm: str, kid: str | None = None, typ: object = "JWT", **changes: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": "tickets",
        "sub": "alice",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
        "permissions": ["A", "B"],
        "clients": ["client-123"],
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    key = next(key for name, key, _ in KEYS if name == algorithm)
    return jwt.encode(claims, key, algorithm, headers={"kid": kid or algorithm, "typ": typ})


def verifier(**options: Any) -> TokenVerifier:
    keys = read_key_set(json.dumps(key_set("RS256", "ES256", "EdDSA")))
    return TokenVerifier(keys, issuer=ISSUER, audience="tickets", **options)


@pytest.fixture
def everything() -> TokenVerifier:
    return verifier()


def caller(verifier: TokenVerifier, token: str) -> Caller:
    return asyncio.run(verifier.caller([f"Bearer {token}"]))


def signed(header: bytes, claims: bytes) -> str:
    """Return a token with these bytes, correctly signed."""
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims)]
    signature = base64.urlsafe_b64encode(ED.sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


# As a number of seconds: in milliseconds, beyond any calendar, before 1970, or no number.
NO_TIMES = [
    10**400,
    10**5000 // 10**701,
    1.8e12,
    -1,
    "2000000000",
    True,
    [],
    {},
    "NaN",
    float("nan"),
    float("inf"),
]
TYPED = ["at+jwt", "AT+JWT", "application/at+jwt"]
UNTYPED = ["JWT", "jwt", None]


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
        *({claim: value} for claim in ("exp", "nbf", "iat") for value in NO_TIMES),
        {"aud": []},
        {"aud": ["tickets", 1]},
        {"aud": {"tickets": True}},
        {"sub": 1},
        {"sub": " "},
        {"sub": "a" * 256},
        {"sub": "a\u202eb"},
        {"sub": "a\u200bb"},
        {"sub": "\ud800"},
        {"permissions": None, "clients": "*"},
        {"clients": [""]},
        {"clients": ["\ud800"]},
        {"unused": "\ud800"},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_not_accepted(everything: TokenVerifier, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        caller(everything, token("EdDSA", **wrong))


@pytest.mark.parametrize(
    "times", [{"exp": 2e9 + 0.5}, {"exp": 253_402_300_799, "iat": 0, "nbf": 1.5}], ids=str
)
def test_times_may_have_a_fraction(everything: TokenVerifier, times: dict[str, Any]) -> None:
    """RFC 7519, section 2."""
    assert caller(everything, token("EdDSA", **times)).actor == "alice"


def test_an_audience_may_be_one_of_several(everything: TokenVerifier) -> None:
    assert caller(everything, token("EdDSA", aud=["other", "tickets"])).actor == "alice"


def test_a_subject_has_at_most_255_characters(everything: TokenVerifier) -> None:
    assert caller(everything, token("EdDSA", sub="é" * 255)).actor == "é" * 255


DEEP = b"[" * 60_000
CLAIMS = json.dumps({"iss": ISSUER, "aud": "tickets", "sub": "a", "exp": 2_000_000_000}).encode()
BAD_BYTES = {
    "deep claims": (b'{"alg":"EdDSA"}', b'{"a":' + DEEP),
    "deep claims, closed": (b'{"alg":"EdDSA"}', b'{"a":' + DEEP + b"]" * len(DEEP) + b"}"),
    "deep header": (b'{"alg":"EdDSA","a":' + DEEP + b"]" * len(DEEP) + b"}", CLAIMS),
    "long integer": (b'{"alg":"EdDSA"}', CLAIMS[:-1] + b',"a":' + b"9" * 10_000 + b"}"),
    "NaN": (b'{"alg":"EdDSA"}', CLAIMS[:-1] + b',"a":NaN}'),
    "exp of 1e999": (b'{"alg":"EdDSA"}', CLAIMS.replace(b"2000000000", b"1e999")),
    "a claim twice": (b'{"alg":"EdDSA"}', CLAIMS[:-1] + b',"sub":"b"}'),
    "an inner name twice": (b'{"alg":"EdDSA"}', CLAIMS[:-1] + b',"a":{"b":1,"b":2}}'),
    "alg twice": (b'{"alg":"none","alg":"EdDSA"}', CLAIMS),
    "lone surrogate": (b'{"alg":"EdDSA"}', CLAIMS[:-1] + b',"a":["\\ud800"]}'),
    "latin-1": (b'{"alg":"EdDSA"}', CLAIMS[:-1] + b',"a":"\xe9"}'),
    "a list": (b'{"alg":"EdDSA"}', b"[1]"),
    "a list of issuers": (
        b'{"alg":"EdDSA"}',
        CLAIMS.replace(b'"https://issuer.example"', b'["https://issuer.example"]'),
    ),
    "a header list": (b'["alg"]', CLAIMS),
    "alg is a list": (b'{"alg":["EdDSA"]}', CLAIMS),
    "kid is a number": (b'{"alg":"EdDSA","kid":1}', CLAIMS),
    "typ is a list": (b'{"alg":"EdDSA","typ":["at+jwt"]}', CLAIMS),
    "unknown crit": (b'{"alg":"EdDSA","crit":["x"],"x":1}', CLAIMS),
    "unencoded payload": (b'{"alg":"EdDSA","crit":["b64"],"b64":false}', CLAIMS),
}


@pytest.mark.parametrize(("header", "claims"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_a_signed_token_with_malformed_parts_is_not_accepted(
    everything: TokenVerifier, header: bytes, claims: bytes
) -> None:
    assert caller(everything, signed(b'{"alg":"EdDSA"}', CLAIMS)).actor == "a"
    with pytest.raises(InvalidToken):
        caller(everything, signed(header, claims))


@pytest.mark.parametrize("typ", [*TYPED, *UNTYPED])
def test_access_tokens_of_each_accepted_type_are_accepted(everything: TokenVerifier, typ: str | None) -> None:
    assert caller(everything, token("EdDSA", typ=typ)).actor == "alice"


@pytest.mark.parametrize(
    "typ", ["", "logout+jwt", "secevent+jwt", "dpop+jwt", "id_token", "at", 1, []], ids=str
)
def test_other_types_are_refused(everything: TokenVerifier, typ: object) -> None:
    with pytest.raises(InvalidToken, match="typ"):
        caller(everything, signed(json.dumps({"alg": "EdDSA", "typ": typ}).encode(), CLAIMS))


@pytest.mark.parametrize("typ", UNTYPED)
@pytest.mark.parametrize(
    "other",
    [
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"sid": "s", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}},
    ],
    ids=str,
)
def test_id_tokens_logout_tokens_and_events_are_refused(
    everything: TokenVerifier, typ: str | None, other: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match="not an access token"):
        caller(everything, token("EdDSA", typ=typ, **other))


def test_only_typed_tokens_are_accepted_on_demand() -> None:
    typed_only = verifier(typed_only=True)

    assert [caller(typed_only, token("EdDSA", typ=typ)).actor for typ in TYPED] == ["alice"] * 3
    for typ in UNTYPED:
        with pytest.raises(InvalidToken, match="typ"):
            caller(typed_only, token("EdDSA", typ=typ))


def test_an_unsigned_token_is_not_accepted(everything: TokenVerifier) -> None:
    unsigned = jwt.encode({"sub": "alice"}, "", "none", headers={"kid": "RS256"})

    with pytest.raises(InvalidToken):
        caller(everything, unsigned)


def test_a_token_signed_with_another_key_of_the_set_is_not_accepted(everything: TokenVerifier) -> None:
    with pytest.raises(InvalidToken):
        caller(everything, token("RS256", kid="ES256"))


@pytest.mark.parametrize("foreign", ["!", "=", "==", "+", "/", "%", "é", "\0"])
@pytest.mark.parametrize("segment", range(3))
def test_a_character_outside_the_alphabet_of_base64url_is_refused(
    everything: TokenVerifier, segment: int, foreign: str
) -> None:
    segments = token("EdDSA").split(".")
    segments[segment] += foreign * 4  # which base64.urlsafe_b64decode ignores

    with pytest.raises(InvalidToken):
        caller(everything, ".".join(segments))


@pytest.mark.parametrize("garbage", ["x", "a.b.c", "ey.ey.ey", "é", "\ud800", "?", "..", "a" * 10_000])
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


class Keys:
    """A set that a test may change, and the key ids that were looked up in it."""

    def __init__(self) -> None:
        self.set = read_key_set(json.dumps(key_set("EdDSA")))
        self.asked: list[str | None] = []

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        self.asked.append(kid)
        return self.set.candidates(kid, algorithm)

    def holds(self, thumbprint: str) -> bool:
        return self.set.holds(thumbprint)


def cached() -> tuple[TokenVerifier, Keys, list[float]]:
    """A verifier, its keys, and its clock."""
    keys, now = Keys(), [time.time()]
    return TokenVerifier(keys, issuer=ISSUER, audience="tickets", timer=lambda: now[0]), keys, now


def test_a_token_is_verified_once_and_then_known() -> None:
    verifier, keys, _ = cached()
    known = token("EdDSA")

    callers = [caller(verifier, known) for _ in range(3)]

    assert keys.asked == ["EdDSA"]
    assert len(set(callers)) == 1
    content, signature_of_another = known.rpartition(".")[0], token("EdDSA", sub="bob").rpartition(".")[2]
    with pytest.raises(InvalidToken):
        caller(verifier, f"{content}.{signature_of_another}")


def test_concurrent_requests_share_the_verification_of_a_new_token() -> None:
    verifier, keys, _ = cached()
    authorization = [f"Bearer {token('EdDSA')}"]

    async def first_requests() -> list[Caller]:
        cancelled, *others = [asyncio.create_task(verifier.caller(authorization)) for _ in range(8)]
        await asyncio.sleep(0)
        cancelled.cancel()
        return await asyncio.gather(*others)

    assert len(set(asyncio.run(first_requests()))) == 1
    assert keys.asked == ["EdDSA"]


def test_concurrent_requests_share_a_refusal_that_is_not_cached() -> None:
    verifier, keys, now = cached()
    counted = list[tuple[str, str]]()
    verifier._refused = lambda *refusal: counted.append(refusal)
    early = [f"Bearer {token('EdDSA', nbf=int(now[0]) + 60)}"]

    async def requests() -> list[Caller | BaseException]:
        return await asyncio.gather(*(verifier.caller(early) for _ in range(8)), return_exceptions=True)

    assert {type(refusal) for refusal in asyncio.run(requests())} == {InvalidToken}
    assert counted == [(ISSUER, "claims")] * 8
    now[0] += 60
    assert len(set(asyncio.run(requests()))) == 1
    assert keys.asked == ["EdDSA"] * 2


def test_a_known_token_is_refused_once_it_has_expired() -> None:
    verifier, _, now = cached()
    short = token("EdDSA", exp=int(now[0]) + 1)
    caller(verifier, short)

    now[0] += CLOCK_SKEW_SECONDS + 2

    with pytest.raises(InvalidToken, match="expired"):
        caller(verifier, short)


def test_a_known_token_is_refused_once_its_key_is_withdrawn() -> None:
    verifier, keys, _ = cached()
    known = token("EdDSA")
    caller(verifier, known)

    keys.set = read_key_set(json.dumps(key_set("RS256")))

    with pytest.raises(InvalidToken):
        caller(verifier, known)
