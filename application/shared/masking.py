"""Masking of addresses: recognisable to a reader who knows the address, useless to any other."""

import re

from domain.policies.policy import SendingMethod
from domain.users.recipient import Recipient

_BY_LETTER = {SendingMethod.PDF_STORE}
_BY_MAIL = {SendingMethod.EMAIL, SendingMethod.HTML_EMAIL, SendingMethod.PDF_EMAIL}
# Words are separated by blanks: \w does not match combining accents or vowel signs.
_WORD = re.compile(r"(\S)\S*")


def masked(recipient: Recipient, method: SendingMethod) -> str | None:
    """Return the masked address that the method uses: `u***@e***.com`, `8*** Z***`; None: unknown to this service."""
    if method in _BY_MAIL and recipient.email:
        local, _, domain = recipient.email.partition("@")
        name, dot, top = domain.rpartition(".")
        return f"{local[0]}***@" + (f"{name[0]}***{dot}{top}" if name else f"{domain[0]}***")
    if method in _BY_LETTER and recipient.postal_address:
        return _WORD.sub(r"\1***", recipient.postal_address[-1])
    return None
