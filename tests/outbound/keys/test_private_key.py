"""A private key that the service cannot use is refused with its file and the reason, never with its content."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.private_key import parse_private_key
from interface.outbound.keys.token_key import TokenKey
from tests.support.fakes import FakeClock

ENCRYPTED = Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)


def test_an_encrypted_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "token.pem"
    path.write_bytes(ENCRYPTED)
    path.chmod(0o600)

    with pytest.raises(ValueError, match=r"token\.pem: the private key is encrypted: decrypt it with"):
        TokenKey(path)


@pytest.mark.parametrize("content", [ENCRYPTED, b"", b"nonsense", ENCRYPTED.replace(b"M", b"N", 3)])
def test_an_unusable_key_of_the_ledger_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "20260101T000000Z.pem").write_bytes(content)
    keys = LedgerKeys(tmp_path, "tickets", clock=FakeClock(), overlap=timedelta())

    with pytest.raises(ValueError, match=r"20260101T000000Z\.pem: (the|not a) private key"):
        keys.public()


def test_a_refused_key_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"key\.pem: not a private key in PEM") as refused:
        parse_private_key(
            b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", Path("key.pem")
        )

    assert "c2VjcmV0" not in str(refused.value)
