"""Seals secrets with AES-256-GCM."""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.shared.errors import SealBroken
from domain.shared.secret import Secret

_FORMAT = b"\x01"
_KEY_ID_BYTES = 4
# NIST SP 800-38D: 96 bits, random; good for 2^32 tickets under one key.
_NONCE_BYTES = 12
_HEADER_BYTES = len(_FORMAT) + _KEY_ID_BYTES + _NONCE_BYTES


class AesGcmSealer:
    """Sealed = format (1 byte) ‖ key id (4) ‖ nonce (12) ‖ ciphertext and tag.

    `bound_to` is the associated data, so a sealed secret that is moved to another row does not open.
    keys: returns the keys of 32 bytes; the first encrypts, all decrypt. current: looks for newer ones, if `keys` does not always.
    """

    def __init__(
        self, keys: Callable[[], Sequence[bytes]], current: Callable[[], Sequence[bytes]] | None = None
    ) -> None:
        self._keys = keys
        self._current = current or keys

    def __repr__(self) -> str:
        return "AesGcmSealer(***)"

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        """Encrypt the secret; decryption requires the same `bound_to`."""
        key, nonce = self._keys()[0], os.urandom(_NONCE_BYTES)
        ciphertext = _cipher(key).encrypt(nonce, secret.reveal().encode(), bound_to.encode())
        return _FORMAT + _key_id(key) + nonce + ciphertext

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        """Return the secret. Raises SealBroken."""
        if sealed[:1] != _FORMAT or len(sealed) <= _HEADER_BYTES:
            raise SealBroken("the format of the sealed secret is unknown")
        key = _key_of(sealed, self._keys()) or _key_of(sealed, self._current())
        if key is None:
            raise SealBroken(
                "it was encrypted with a missing outbox key: restore the key, or create a new secret"
            )
        try:
            clear = _cipher(key).decrypt(
                sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES],
                sealed[_HEADER_BYTES:],
                bound_to.encode(),
            )
        except InvalidTag:
            raise SealBroken("the sealed secret was modified or moved from another row") from None
        return Secret(clear.decode())

    def is_new(self, sealed: bytes) -> bool:
        """Return whether it was encrypted with the first key."""
        return sealed[:1] == _FORMAT and _is_under(sealed, self._keys()[0])


def _key_of(sealed: bytes, keys: Sequence[bytes]) -> bytes | None:
    return next((key for key in keys if _is_under(sealed, key)), None)


def _is_under(sealed: bytes, key: bytes) -> bool:
    return sealed[len(_FORMAT) : len(_FORMAT) + _KEY_ID_BYTES] == _key_id(key)


@cache
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


@cache
def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"outbox key id" + key).digest()[:_KEY_ID_BYTES]
