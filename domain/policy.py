"""How tickets are made: length, characters, hash and lifetime."""

from dataclasses import dataclass
from datetime import timedelta

# The 57 letters and digits that nobody confuses when reading a letter: no 0 O 1 l I (contract.md).
UNAMBIGUOUS_CHARACTERS = "23456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class TicketPolicy:
    """The rules of the next ticket; a change of policy touches no ticket already made.

    The defaults are the built-in policy of contract.md. 24 of 57 characters are 139 bits, above the 112 bits
    that NIST SP 800-63B and ASVS 6.5.2 ask for before a fast hash will do.
    """

    ext_id: str = "default"
    ticket_length: int = 24
    ticket_character_set: str = UNAMBIGUOUS_CHARACTERS
    credential_lifetime: timedelta = timedelta(milliseconds=432_000_000)


DEFAULT_POLICY = TicketPolicy()
