"""Seals secrets with AES-256-GCM."""

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.errors import SealBroken
from domain.secret import Secret

KEY_BYTES = 32
_FORMAT = b"\x01"
_KEY_ID_BYTES = 4
# NIST SP 800-38D: 96 bits, random; good for 2^32 tickets under one key.
_NONCE_BYTES = 12
_HEADER_BYTES = len(_FORMAT) + _KEY_ID_BYTES + _NONCE_BYTES


class AesGcmSealer:
    """Sealed = format (1 byte) ‖ key id (4) ‖ nonce (12) ‖ ciphertext and tag.

    `bound_to` is the associated data, so a sealed secret that is moved to another row does not open.
    key: 32 bytes. Raises ValueError for another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the outbox key must have {KEY_BYTES} bytes, this one has {len(key)}")
        self._cipher = AESGCM(key)
        self._key_id = hashlib.sha256(b"outbox key id" + key).digest()[:_KEY_ID_BYTES]

    def __repr__(self) -> str:
        return "AesGcmSealer(***)"

    def seal(self, secret: Secret, bound_to: str) -> bytes:
        """Encrypt the secret; only together with the same `bound_to` does it open again."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = self._cipher.encrypt(nonce, secret.reveal().encode(), bound_to.encode())
        return _FORMAT + self._key_id + nonce + ciphertext

    def unseal(self, sealed: bytes, bound_to: str) -> Secret:
        """Return the secret. Raises SealBroken."""
        if sealed[:1] != _FORMAT or len(sealed) <= _HEADER_BYTES:
            raise SealBroken("this is no sealed secret that this version can open")
        if sealed[1 : 1 + _KEY_ID_BYTES] != self._key_id:
            raise SealBroken("it was sealed with another outbox key than the one in use")
        try:
            clear = self._cipher.decrypt(
                sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES],
                sealed[_HEADER_BYTES:],
                bound_to.encode(),
            )
        except InvalidTag:
            raise SealBroken("the sealed secret was changed, or moved from another row") from None
        return Secret(clear.decode())
