"""Seals secrets with AES-256-GCM."""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.shared.errors import SealBroken
from domain.shared.secret import Secret

_FORMAT = b"\x01"
_KEY_ID_BYTES = 4
# NIST SP 800-38D: 96 bits, random; good for 2^32 tickets under one key.
_NONCE_BYTES = 12
_HEADER_BYTES = len(_FORMAT) + _KEY_ID_BYTES + _NONCE_BYTES


class _Key(NamedTuple):
    """A key that is ready for use."""

    id: bytes
    cipher: AESGCM


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
        # The keys that were last listed, and each of them ready for use; a retired key is dropped with the list.
        self._ready: tuple[Sequence[bytes], Sequence[_Key]] = (), ()

    def __repr__(self) -> str:
        return "AesGcmSealer(***)"

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        """Encrypt the secret; decryption requires the same `bound_to`."""
        key, nonce = self._of(self._keys())[0], os.urandom(_NONCE_BYTES)
        ciphertext = key.cipher.encrypt(nonce, secret.reveal().encode(), bound_to.encode())
        return _FORMAT + key.id + nonce + ciphertext

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        """Return the secret. Raises SealBroken."""
        if sealed[:1] != _FORMAT or len(sealed) <= _HEADER_BYTES:
            raise SealBroken("the format of the sealed secret is unknown")
        key = _key_of(sealed, self._of(self._keys())) or _key_of(sealed, self._of(self._current()))
        if key is None:
            raise SealBroken(
                "it was encrypted with a missing outbox key: restore the key, or create a new secret"
            )
        try:
            clear = key.cipher.decrypt(
                sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES],
                sealed[_HEADER_BYTES:],
                bound_to.encode(),
            )
        except InvalidTag:
            raise SealBroken("the sealed secret was modified or moved from another row") from None
        return Secret(clear.decode())

    def is_new(self, sealed: bytes) -> bool:
        """Return whether it was encrypted with the first key."""
        return sealed[:1] == _FORMAT and _key_of(sealed, self._of(self._keys())[:1]) is not None

    def _of(self, keys: Sequence[bytes]) -> Sequence[_Key]:
        listed, ready = self._ready
        if keys != listed:
            ready = [_Key(_key_id(key), AESGCM(key)) for key in keys]
            self._ready = keys, ready
        return ready


def _key_of(sealed: bytes, keys: Sequence[_Key]) -> _Key | None:
    key_id = sealed[len(_FORMAT) : len(_FORMAT) + _KEY_ID_BYTES]
    return next((key for key in keys if key.id == key_id), None)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"outbox key id" + key).digest()[:_KEY_ID_BYTES]
