"""Commitments: an event commits to values that it does not contain, so that they can be deleted.

A commitment is the hex SHA-256 of

    "tickets-commitment-v1" 0x00 || salt || canonical JSON of the fields

The salt has 16 random bytes and is stored beside the values. Without it, no guess of the values can be tested,
so nothing about them is left after they are deleted together with the salt.

The canonical JSON is one object in UTF-8 without blanks: names in the order of their characters, fields without a value
(null) left out, non-ASCII characters not escaped. A later release can therefore add a field whose default is null.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

SALT_BYTES = 16
_PREFIX = b"tickets-commitment-v1\x00"
_encode = msgspec.json.Encoder(order="sorted").encode


def commitment(salt: bytes, fields: Mapping[str, Any]) -> str:
    """Return the commitment to these fields, 64 hex digits. Raises ValueError if the salt has another length."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    present = {name: value for name, value in fields.items() if value is not None}
    return hashlib.sha256(_PREFIX + salt + _encode(present)).hexdigest()
