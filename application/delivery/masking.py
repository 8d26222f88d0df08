"""Masking of addresses: recognisable to a reader who knows the address, useless to any other."""

import re

from domain.policies.policy import SendingMethod
from domain.users.recipient import Recipient

# Words are separated by blanks: \w does not match combining accents or vowel signs.
_WORD = re.compile(r"(\S)\S*")


def masked(recipient: Recipient, method: SendingMethod) -> str | None:
    """Return the masked address that the method uses: `u***@e***.com`, `8*** Z***`; None: unknown to this service."""
    address = getattr(recipient, method.address) if method.address else None
    if not address:
        return None
    if isinstance(address, str) and "@" in address:
        local, _, domain = address.partition("@")
        name, dot, top = domain.rpartition(".")
        return f"{local[0]}***@" + (f"{name[0]}***{dot}{top}" if name else f"{domain[0]}***")
    return _WORD.sub(r"\1***", address if isinstance(address, str) else address[-1])
