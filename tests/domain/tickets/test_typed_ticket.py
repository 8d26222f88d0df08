import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policies.policy import DEFAULT_POLICY, InvalidPolicy, TicketPolicy
from domain.tickets.ticket import ClearTicket
from domain.tickets.typed_ticket import as_minted

WITH_HYPHEN = TicketPolicy(ticket_character_set="abc-", ticket_length=60)
UPPER_ONLY = TicketPolicy(
    ticket_character_set="ABCDEF23456789", ticket_length=40, ticket_case_insensitive=True
)


def typed(text: str, policy: TicketPolicy = DEFAULT_POLICY) -> str:
    return as_minted(ClearTicket(text), policy).reveal()


@pytest.mark.parametrize(
    "text",
    [
        "k7mWq2xHvT9p",
        " k7mWq2xHvT9p\t\r\n",
        "k7mW q2xH vT9p",
        "k7mW-q2xH-vT9p",
        "k7mW\u00a0q2xH\u2011vT9p",
        "k7mW \u2013 q2xH \u2014 vT9p\u200b",
        "\ufeffk7m\u00adWq2xHvT9p",
        "\uff4b\uff17\uff4d\uff37\u3000q2xH\uff0dvT9p",
    ],
)
def test_a_typed_ticket_is_the_minted_one_without_blanks_and_hyphens(text: str) -> None:
    assert typed(text) == "k7mWq2xHvT9p"


def test_other_characters_stay() -> None:
    assert typed("k7mW_q2xH.vT9p") == "k7mW_q2xH.vT9p"
    assert typed("K7MWQ2XHVT9P") == "K7MWQ2XHVT9P"


def test_a_hyphen_of_the_character_set_stays_however_it_was_typed() -> None:
    assert typed(" a-b \u2010c\u2011a\uff0db", WITH_HYPHEN) == "a-b-c-a-b"


def test_a_policy_that_ignores_case_accepts_both() -> None:
    assert typed("ab cd-EF23", UPPER_ONLY) == "ABCDEF23"
    assert typed("\uff41\uff42\uff23", UPPER_ONLY) == "ABC"


def test_a_character_set_with_both_cases_cannot_ignore_case() -> None:
    with pytest.raises(InvalidPolicy, match="both cases"):
        TicketPolicy(ticket_case_insensitive=True).check()
    UPPER_ONLY.check()


@given(
    st.text("".join(map(chr, range(0x21, 0x7F))), max_size=40), st.sampled_from([DEFAULT_POLICY, WITH_HYPHEN])
)
def test_every_width_of_a_character_is_the_same(text: str, policy: TicketPolicy) -> None:
    wide = "".join(chr(ord(character) + 0xFEE0) for character in text)

    assert unicodedata.normalize("NFKC", wide) == text
    assert typed(wide, policy) == typed(text, policy)
