"""The rules for keys that verify tokens: weak and wrong keys are refused and named, the others are kept."""

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi.testclient import TestClient
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from interface.composition.http_app import http_app
from interface.composition.service import start
from interface.outbound.keys.issuer_keys import IssuerKeys
from interface.outbound.keys.key_set import read_key_set, thumbprint
from interface.outbound.keys.set_keys import SetKeys
from interface.settings import InvalidSettings, Settings
from tests.support.foreign import foreign_object, foreign_value, fuzz
from tests.support.lanes import FUZZ_CASES
from tests.support.receiver import answer, receiving

ED = ed25519.Ed25519PrivateKey.generate()
GOOD: dict[str, Any] = {**OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True), "kid": "good"}
WEAK_RSA = rsa.generate_private_key(65537, 1024)
RSA: dict[str, Any] = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
EC: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
P384: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
# The y coordinates 1, 0, -1, those of the points of order 8, with either sign, and unreduced forms of 0 and 1.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
BAD: dict[str, tuple[object, str]] = {
    "weak RSA": (RSAAlgorithm.to_jwk(WEAK_RSA.public_key(), as_dict=True), "it has 1024 bits"),
    **{
        f"small order {number}": (
            {"kty": "OKP", "crv": "Ed25519", "x": jwt.utils.base64url_encode(bytes.fromhex(point)).decode()},
            "small order",
        )
        for number, point in enumerate(SMALL_ORDER)
    },
    "for encryption": ({**RSA, "use": "enc"}, "its use must be sig"),
    "other operations": ({**RSA, "key_ops": ["encrypt", "wrapKey"]}, "its key_ops must contain verify"),
    "operations as text": ({**RSA, "key_ops": "verify"}, "its key_ops must contain verify"),
    "another curve": (P384, "its crv must be P-256"),
    "algorithm of another curve": ({**EC, "alg": "ES384"}, "its alg must be ES256"),
    "curve of another type": ({**GOOD, "crv": "P-256"}, "its crv must be Ed25519"),
    "X25519": ({**GOOD, "crv": "X25519"}, "its crv must be Ed25519"),
    "another algorithm": ({**RSA, "alg": "RS512"}, "its alg must be RS256"),
    "secret": ({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, "its kty must be one of"),
    "private": (OKPAlgorithm.to_jwk(ED, as_dict=True), "it is a private key"),
    "no point": ({**EC, "y": EC["x"]}, "malformed"),
    "short": ({**GOOD, "x": "AAAA"}, "malformed"),
    "no modulus": ({"kty": "RSA", "e": "AQAB"}, "malformed"),
    "modulus is a list": ({"kty": "RSA", "e": "AQAB", "n": [1]}, "malformed"),
    "kid is a number": ({**GOOD, "kid": 1}, "its kid must be text"),
    "kty is a list": ({**GOOD, "kty": ["OKP"]}, "its kty must be one of"),
    "no object": ("key", "its kty must be one of"),
}


@pytest.mark.parametrize(("bad", "rule"), BAD.values(), ids=BAD)
def test_a_weak_or_wrong_key_is_refused_by_name_and_the_others_are_kept(bad: object, rule: str) -> None:
    if isinstance(bad, dict):
        bad = {"kid": "bad", **bad}

    found = read_key_set(json.dumps({"keys": [bad, GOOD]}))

    assert [key.kid for key in found.keys] == ["good"]
    [message] = found.refused
    assert rule in message
    if isinstance(bad, dict):
        assert "'bad'" in message or not isinstance(bad["kid"], str) or bad["kid"] == "good"
        for member in ("n", "x", "y", "k", "d"):
            assert str(bad.get(member, "no member")) not in message


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "<html>", '{"keys": {}}', '{"keys": 1}', "[" * 60_000, b"\xff"], ids=range(8)
)
def test_other_documents_are_no_key_set(content: str | bytes) -> None:
    with pytest.raises(ValueError, match="it is not"):
        read_key_set(content)


KEYS = foreign_object(
    [GOOD, RSA, EC, {}], ["kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e", "d"]
)


@pytest.mark.parametrize("count", FUZZ_CASES)
def test_any_key_is_either_accepted_or_refused(count: int) -> None:
    def check(drawn: tuple[dict[str, Any], dict[str, Any], int]) -> None:
        keys: list[Any] = [*drawn[:2], foreign_value(Random(drawn[2]))]
        found = read_key_set(json.dumps({"keys": keys}))
        assert len(found.keys) + len(found.refused) == len(keys)

    fuzz(check, st.tuples(KEYS, KEYS, st.integers(0, 2**32)), count)


def test_a_key_needs_neither_kid_nor_use_nor_alg() -> None:
    """RFC 7517: these members are optional."""
    bare = {name: GOOD[name] for name in ("kty", "crv", "x")}
    found = read_key_set(json.dumps({"keys": [bare, {**RSA, "kid": "r"}, {**EC, "kid": "e"}]}))

    assert not found.refused
    assert [key.kid for key in found.candidates(None, "EdDSA")] == [None]
    assert [key.kid for key in found.candidates("any", "EdDSA")] == [None]
    assert [key.kid for key in found.candidates("r", "RS256")] == ["r"]
    assert not found.candidates("r", "ES256")
    assert not found.candidates("other", "RS256")


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    key = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0"
        "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur"
        "-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }

    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def _settings(tmp_path: Path, keys: list[object]) -> Settings:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return Settings(
        database_url=f"sqlite:///{tmp_path}/tickets.db",
        jwks_file=path,
        token_issuer="idp",
        token_audience="tickets",
        deliver=False,
        push=False,
    )


def test_a_file_is_read_by_these_rules_and_the_log_names_the_refused_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encrypting = {**RSA, "use": "enc", "kid": "enc-1"}
    with TestClient(http_app(start(_settings(tmp_path, [encrypting, GOOD])))):
        pass

    assert f"key 'enc-1' (thumbprint {thumbprint(RSA)}) is refused: its use must be sig" in caplog.text
    running = start(_settings(tmp_path, [encrypting]))
    with pytest.raises(InvalidSettings, match="has no accepted key"):
        http_app(running)
    running.close()


def test_a_url_is_read_by_these_rules_and_the_log_names_each_refused_key_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare = {name: GOOD[name] for name in ("kty", "crv", "x")}
    content = json.dumps({"keys": [{**RSA, "use": "enc", "kid": "enc-1"}, bare]}).encode()

    async def find(url: str) -> None:
        keys = IssuerKeys(url, lifespan_seconds=300, cooldown_seconds=0, stale_seconds=0)
        assert await keys.find(None, "EdDSA")
        assert not await keys.find("enc-1", "RS256")

    with receiving(lambda _: answer(200, body=content)) as issuer:
        asyncio.run(find(issuer.url("/jwks")))

    assert caplog.text.count("key 'enc-1'") == 1


def test_a_weak_key_for_security_events_is_refused_by_its_thumbprint(tmp_path: Path) -> None:
    path = tmp_path / "set.pem"
    path.write_bytes(WEAK_RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = RSAAlgorithm.to_jwk(WEAK_RSA.public_key(), as_dict=True)

    with pytest.raises(ValueError, match=rf"{thumbprint(public)} is refused: it has 1024 bits"):
        SetKeys(path)
