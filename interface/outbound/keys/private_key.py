"""The boundary of private keys in files."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def parse_private_key(pem: bytes, file: Path) -> PrivateKeyTypes:
    """Return the private key of a PEM text. Raises ValueError, which names the file and does not contain the text."""
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError(
            f"{file}: the private key is encrypted: decrypt it with `openssl pkey -in OLD -out NEW`"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file}: not a private key in PEM") from None
