"""The RSA keys that sign security event tokens: the CAEP interoperability profile requires RS256."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import RSAAlgorithm

from interface.outbound.files.durable_file import read_or_create
from interface.outbound.keys.key_set import key_fault, thumbprint
from interface.outbound.keys.private_key import parse_private_key

_BITS = 3072
_END = b"-----END PRIVATE KEY-----"


class SetKeys:
    """Signs with the first key of a PEM file; the others are only published, for the verification of older tokens.

    path: created with a new key on first use. Raises OSError, ValueError if it contains anything else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            _ = self._keys

    def __repr__(self) -> str:
        return "SetKeys(***)"

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the token."""
        key = self._keys[0]
        headers = {"kid": _public(key)["kid"], "typ": "secevent+jwt"}
        return jwt.encode(dict(claims), key, algorithm="RS256", headers=headers)

    def key_set(self) -> dict[str, Any]:
        """Return the public keys (RFC 7517)."""
        return {"keys": [_public(key) for key in self._keys]}

    @cached_property
    def _keys(self) -> list[rsa.RSAPrivateKey]:
        parts = read_or_create(self._path, _new_key).split(_END)[:-1]
        keys = [parse_private_key(part + _END + b"\n", self._path) for part in parts]
        found = [key for key in keys if isinstance(key, rsa.RSAPrivateKey)]
        if not keys or len(found) < len(keys):
            raise ValueError(f"{self._path} must contain PEM-encoded RSA keys")
        for key in found:
            if fault := key_fault(key.public_key()):
                raise ValueError(
                    f"{self._path}: the key with thumbprint {_public(key)['kid']} is refused: {fault}"
                )
        return found


def _new_key() -> bytes:
    key = rsa.generate_private_key(65537, _BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    public: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    shown = {name: public[name] for name in ("kty", "n", "e")}
    return shown | {"alg": "RS256", "use": "sig", "kid": thumbprint(shown)}
