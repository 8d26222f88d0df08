"""The rules for external ids. Stored ids satisfy only the first one; new ids satisfy both.

An id is compared by its characters. Therefore a new id has one spelling, and no invisible character distinguishes two ids.
"""

import re
import unicodedata
from typing import ClassVar

from domain.shared.errors import Kind, Refusal

ID_MAX_LENGTH = 50
# In the clients of a token: every client.
ANY_CLIENT = "*"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Other, control; surrogate; unassigned; separators of lines and paragraphs. Private use is allowed.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})
# Default_Ignorable_Code_Point of DerivedCoreProperties-16.0.0.txt (Unicode 16.0), which contains the bidirectional controls.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


class InvalidIdentifier(Refusal):
    """A new id breaks the rules of identifiers."""

    CODE: ClassVar[str] = "IdentifierInvalid"
    KIND = Kind.INVALID


def fault_of_id(text: str) -> str | None:
    """Return the reason why no request can name this id; None: it can.

    An id has 1 to 50 characters, none of them a control character or a lone surrogate. "." and ".." are not ids, since
    browsers and proxies resolve them as steps in a path (RFC 3986, section 5.2.4).
    """
    if not 1 <= len(text) <= ID_MAX_LENGTH:
        return f"has {len(text)} characters; it must have 1 to {ID_MAX_LENGTH}"
    if _CONTROL.search(text) or text in (".", ".."):
        return "has a control character, or is a dot segment"
    if _SURROGATE.search(text):
        return "is not UTF-8"
    return None


def fault_of_new_id(text: str) -> str | None:
    """Return the rule that a new id breaks; None: it breaks none.

    In addition to `fault_of_id`, a new id is in normalisation form C (Unicode Standard Annex 15), has no default-ignorable,
    bidirectional or unassigned character and no line separator, and has no blank at an end. The interpreter's version of
    Unicode decides which characters are assigned.
    """
    if fault := fault_of_id(text):
        return fault
    if text != text.strip():
        return "must not begin or end with a blank"
    return None if text.isascii() else _unicode_fault(text)


def _unicode_fault(text: str) -> str | None:
    for character in text:
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            return f"must not contain U+{ord(character):04X}, which is unassigned or a control character"
    if ignorable := _IGNORABLE.search(text):
        return f"must not contain U+{ord(ignorable[0]):04X}, which is invisible"
    if not unicodedata.is_normalized("NFC", text):
        return "must be in normalisation form C of Unicode (NFC)"
    return None


def check_new_id(name: str, text: str) -> None:
    """Raise InvalidIdentifier if the text cannot be a new id. name: of the id in the message."""
    if fault := fault_of_new_id(text):
        raise InvalidIdentifier(f"{name} {fault}.")
