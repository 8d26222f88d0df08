"""The service's own token key: the default without an identity provider."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import OKPAlgorithm

from interface.outbound.files.durable_file import read_or_create
from interface.outbound.keys.key_set import KeySet, read_key_set
from interface.outbound.keys.private_key import parse_private_key


class TokenKey:
    """An Ed25519 key in a PEM file of mode 0600, created if it is missing. Raises OSError, ValueError."""

    def __init__(self, path: Path) -> None:
        key = parse_private_key(read_or_create(path, _new_key), path)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} does not contain an Ed25519 key")  # noqa: TRY004 - the file is wrong, not the caller
        self._key = key

    def __repr__(self) -> str:
        return "TokenKey(***)"

    def key_set(self) -> KeySet:
        """Return the public half as a key set."""
        return read_key_set(f'{{"keys": [{OKPAlgorithm.to_jwk(self._key.public_key())}]}}')

    def sign(
        self,
        *,
        subject: str,
        clients: Sequence[str],
        permissions: Sequence[str],
        issuer: str,
        audience: str,
        now: datetime,
        lifetime: timedelta,
    ) -> str:
        """Return a signed access token (RFC 9068) for the subject, valid from now for its lifetime."""
        claims = {
            "sub": subject,
            "iss": issuer,
            "aud": audience,
            "iat": now,
            "exp": now + lifetime,
            "clients": list(clients),
            "permissions": list(permissions),
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": "at+jwt"})


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
