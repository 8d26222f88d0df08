"""The boundary of private keys in files."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def parse_private_key(pem: bytes) -> PrivateKeyTypes:
    """Return the private key of a PEM text. Raises ValueError, which does not contain the text."""
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError(
            "the private key is encrypted: decrypt it with `openssl pkey -in OLD -out NEW`"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM") from None
