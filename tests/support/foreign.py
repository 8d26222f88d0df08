"""Foreign input for fuzzing: valid examples with faults, and the content that breaks parsers."""

import math
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

# Each has broken a parser: nesting, length, numbers, surrogates, NUL, direction marks, dates, percent-encoding.
NASTY = (
    "[" * 5_000,
    '{"a":' * 2_500,
    "9" * 5_000,
    "1e999999999",
    "-0",
    "NaN",
    "Infinity",
    "\\ud800",
    "\x00",
    "\u202e",
    "\ufeff",
    "%",
    "%ff",
    "%00",
    "//",
    "://",
    "@",
    "[::1",
    "[::1]",
    ":99999",
    ":-1",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-02-30",
    "24:00:00",
    '"',
    "'",
    "\r\n",
    "=?utf-8?q?x?=",
    "~",
    "{{",
    "{% for x in y %}",
    "\u0131",
    "\U0001f600",
    "١٢٣",
    ",",
    ";",
)


def foreign_text(examples: Sequence[str]) -> st.SearchStrategy[str]:
    """Return the strategy of any text, and of examples with up to four cuts or insertions.

    It draws one seed: a hundred draws for a text would cost more than most parsers.
    """
    return st.builds(lambda seed: _foreign(examples, Random(seed)), st.integers(0, 2**64 - 1))


def foreign_bytes(examples: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Return the strategy of the same as bytes, which are not always text, and of any bytes."""

    def foreign(seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.1:
            return chance.randbytes(chance.randrange(200))
        return _foreign(examples, chance).encode("utf-8", "surrogatepass") + chance.randbytes(
            chance.choice([0, 0, 3])
        )

    return st.builds(foreign, st.integers(0, 2**64 - 1))


def _foreign(examples: Sequence[str], chance: Random) -> str:
    if chance.random() < 0.1:
        return _any_text(chance, 60)
    text = chance.choice(examples)
    for _ in range(chance.randrange(5)):
        begin = chance.randint(0, len(text))
        end = chance.randint(begin, min(len(text), begin + 8))
        inserted = chance.choice(NASTY) if chance.random() < 0.6 else _any_text(chance, 3)
        text = text[:begin] + inserted + text[end:]
    return text


def _any_text(chance: Random, longest: int) -> str:
    """Return a text of ASCII characters and, less often, of any others, surrogates included."""
    return "".join(
        chr(chance.randrange(128 if chance.random() < 0.7 else sys.maxunicode + 1))
        for _ in range(chance.randrange(longest + 1))
    )


def foreign_object(
    examples: Sequence[dict[str, Any]], names: Sequence[str]
) -> st.SearchStrategy[dict[str, Any]]:
    """Return the strategy of an example with up to four members of these names replaced by any values."""

    def foreign(seed: int) -> dict[str, Any]:
        chance = Random(seed)
        changed = chance.choices(names, k=chance.randrange(5))
        return chance.choice(examples) | {name: foreign_value(chance) for name in changed}

    return st.builds(foreign, st.integers(0, 2**64 - 1))


def foreign_value(chance: Random) -> Any:
    """Return any value of JSON, as Python writes it."""
    if chance.random() < 0.3:
        return _any_text(chance, 20)
    return chance.choice(
        [
            None,
            True,
            False,
            0,
            -1,
            10**400,
            1.5,
            math.nan,
            math.inf,
            "",
            "sig",
            [],
            {},
            ["sig"],
            [None],
            {"": {}},
        ]
    )


def fuzz(check: Callable[[Any], None], inputs: st.SearchStrategy[Any], count: int) -> None:
    """Check `count` inputs."""
    settings(max_examples=count)(given(inputs)(check))()
