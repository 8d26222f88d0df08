"""The ticket that a person typed, as it was minted: people type blanks and hyphens, and some keyboards full-width characters."""

from collections.abc import Mapping
from functools import lru_cache

from domain.policies.policy import TicketPolicy
from domain.tickets.ticket import ClearTicket

# White space and invisible characters, which mails and letters can contain.
_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u00ad\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029"
    "\u202f\u205f\u2060\u3000\ufeff"
)
# Programs replace a typed hyphen by a dash or a minus sign.
_HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
# The distance of a full-width character to its ASCII character.
_FULL_WIDTH = 0xFEE0


def as_minted(ticket: ClearTicket, policy: TicketPolicy) -> ClearTicket:
    """Return the ticket without blanks and hyphens, and with full-width characters as ASCII.

    Hyphens stay if the policy's character set contains the hyphen. If the policy ignores case, letters get the case of the
    character set.
    """
    minted = _minted_characters(policy.ticket_character_set, policy.ticket_case_insensitive)
    return ClearTicket(ticket.reveal().translate(minted))


@lru_cache(maxsize=1_000)
def _minted_characters(character_set: str, ignores_case: bool) -> Mapping[int, str | None]:
    minted: dict[int, str | None] = dict.fromkeys(map(ord, _BLANKS))
    ascii_characters = {code: chr(code) for code in range(ord("!"), ord("~") + 1)}
    if ignores_case:
        ascii_characters |= {ord(letter.swapcase()): letter for letter in character_set}
    minted |= {
        code + offset: known for code, known in ascii_characters.items() for offset in (0, _FULL_WIDTH)
    }
    minted |= dict.fromkeys(map(ord, _HYPHENS), "-" if "-" in character_set else None)
    return minted
