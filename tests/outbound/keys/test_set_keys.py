"""The keys of security events: created on first use, rotated by adding a new first key."""

import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from interface.outbound.keys.set_keys import SetKeys

CLAIMS = {"iss": "https://tickets.example"}


def pem(key: rsa.RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_key_is_created_on_first_use_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "set.pem"
    keys = SetKeys(path)
    assert not path.exists()

    token = keys.sign(CLAIMS)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [public] = jwt.PyJWKSet.from_dict(SetKeys(path).key_set()).keys
    assert jwt.decode(token, public, algorithms=["RS256"]) == CLAIMS
    assert jwt.get_unverified_header(token)["kid"] == public.key_id
    assert repr(keys) == "SetKeys(***)"
    assert not {"d", "p", "q"} & set(keys.key_set()["keys"][0])


def test_a_new_first_key_signs_and_older_keys_stay_published(tmp_path: Path) -> None:
    path = tmp_path / "set.pem"
    older = SetKeys(path).sign(CLAIMS)
    path.write_bytes(pem(rsa.generate_private_key(65537, 2048)) + path.read_bytes())

    keys = SetKeys(path)

    first, second = jwt.PyJWKSet.from_dict(keys.key_set()).keys
    assert jwt.decode(keys.sign(CLAIMS), first, algorithms=["RS256"]) == CLAIMS
    assert jwt.decode(older, second, algorithms=["RS256"]) == CLAIMS


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", pem(Ed25519PrivateKey.generate()), pem(rsa.generate_private_key(65537, 1024))],
)
def test_a_file_with_other_content_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.pem"
    path.write_bytes(content)

    with pytest.raises(
        ValueError,
        match=r"set\.pem(: the key .* is refused: it has 1024 bits| must contain PEM-encoded RSA keys)",
    ):
        SetKeys(path)
