"""The check of the eras, which no event contains: their numbers, names, times and cuts are possible ones."""

import re
from collections.abc import Iterator
from contextlib import suppress

from application.record.streams import parse_column_date
from interface.outbound.sql.table import Fetch

_FIRST = 2
_ERAS = "SELECT number, name, began FROM eras ORDER BY number"
_CUTS = """
SELECT cut.client_ext_id, number, cut.size FROM era_cuts AS cut
LEFT JOIN ledger_sizes AS known ON known.client_ext_id = cut.client_ext_id
WHERE cut.size < 1 OR cut.size > coalesce(known.size, 0) OR number < 2
    OR number > (SELECT coalesce(max(number), 1) + 1 FROM eras)
"""


def era_faults(fetch: Fetch) -> Iterator[str]:
    """Yield a message for each era or cut that no restore can have made."""
    for expected, (number, name, began) in enumerate(map(tuple, fetch(_ERAS, ())), start=_FIRST):
        if number != expected:
            yield f"table eras, number {number}: column number is {number}, not {expected}"
        if not re.fullmatch("[0-9a-f]{8}", name):
            yield f"table eras, number {number}: column name is not an era"
        if not _is_time(began):
            yield f"table eras, number {number}: column began is not a time in UTC"
    for client, number, size in map(tuple, fetch(_CUTS, ())):
        yield f"client {client!r}, table era_cuts, number {number}: size {size} is outside the ledger, or no such era began"


def _is_time(text: str) -> bool:
    with suppress(ValueError):
        parse_column_date(text)
        return True
    return False
