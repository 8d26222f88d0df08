"""Addresses so masked that somebody who knows one recognises it, and nobody else learns it."""

import re

from domain.policies.policy import SendingMethod
from domain.users.recipient import Recipient

_BY_LETTER = {SendingMethod.PDF_STORE}
_BY_MAIL = {SendingMethod.EMAIL, SendingMethod.HTML_EMAIL, SendingMethod.PDF_EMAIL}
# By blanks: what \w is no part of, an accent or a vowel sign, would begin a word anew.
_WORD = re.compile(r"(\S)\S*")


def masked(recipient: Recipient, method: SendingMethod) -> str | None:
    """Return where a method takes a ticket: `u***@e***.com`, `8*** Z***`; None where that is not ours to know."""
    if method in _BY_MAIL and recipient.email:
        local, _, domain = recipient.email.partition("@")
        name, dot, top = domain.rpartition(".")
        return f"{local[0]}***@" + (f"{name[0]}***{dot}{top}" if name else f"{domain[0]}***")
    if method in _BY_LETTER and recipient.postal_address:
        return _WORD.sub(r"\1***", recipient.postal_address[-1])
    return None
