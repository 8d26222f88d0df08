"""The tables of the eras and their cuts, and their check: each era is contained in an event of the installation."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter

from application.record.installation import ERA_CUTS, ERAS, CutKey, EraRow, cuts_digest
from application.record.streams import parse_column_date
from application.transaction.records import Change
from domain.record.installation import INSTALLATION, INSTALLATION_STREAM, StoreRestored
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.table import Fetch, Row, Storing, Table, upsert

_FIRST = 2
_ERAS = "SELECT number, name, began FROM eras ORDER BY number"
_CUTS = "SELECT number, client_ext_id, size FROM era_cuts ORDER BY number, client_ext_id"
_IMPOSSIBLE_CUTS = """
SELECT cut.client_ext_id, number, cut.size FROM era_cuts AS cut
LEFT JOIN ledger_sizes AS known ON known.client_ext_id = cut.client_ext_id
WHERE cut.size < 1 OR cut.size > coalesce(known.size, 0) OR number < 2
    OR number > (SELECT coalesce(max(number), 1) + 1 FROM eras)
"""
_EVENTS = """
SELECT state FROM ledger
JOIN ticket_events ON originator_id = stream AND originator_version = version
WHERE client_ext_id = ? AND ledger.topic = ? ORDER BY position
"""
_IS_RECORDED = "SELECT 1 FROM ledger WHERE client_ext_id = ? AND stream = ? LIMIT 1"
_CUT_KEY = ("client_ext_id", "number")
_CUT_COLUMNS = {"client_ext_id": "text", "number": "bigint", "size": "bigint"}


def era_rows(fetch: Fetch) -> Sequence[tuple[EraRow, str]]:
    """Return each era after the first one by number, with the digest of its cuts."""
    by_number = groupby(map(tuple, fetch(_CUTS, ())), key=itemgetter(0))
    digests = {number: cuts_digest([cut[1:] for cut in cuts]) for number, cuts in by_number}
    rows = [EraRow(*row) for row in map(tuple, fetch(_ERAS, ()))]
    return [(row, digests.get(row.number) or cuts_digest([])) for row in rows]


def era_faults(fetch: Fetch) -> Iterator[str]:
    """Yield a message for each era or cut that no restore can have made, or that differs from its event."""
    recorded = _recorded(fetch)
    found = era_rows(fetch)
    for expected, (row, cuts) in enumerate(found, start=_FIRST):
        place = f"table eras, number {row.number}"
        if row.number != expected:
            yield f"{place}: column number is {row.number}, not {expected}"
        if not re.fullmatch("[0-9a-f]{8}", row.name):
            yield f"{place}: column name is not an era"
        if not _is_time(row.began):
            yield f"{place}: column began is not a time in UTC"
        if recorded is not None:
            yield from _differences(row, cuts, recorded)
    missing = (recorded or {}).keys() - {row.number for row, _ in found}
    yield from (f"table eras, number {number}: the era is missing" for number in sorted(missing))
    for client, number, size in map(tuple, fetch(_IMPOSSIBLE_CUTS, ())):
        yield f"client {client!r}, table era_cuts, number {number}: size {size} is outside the ledger, or no such era began"


def _recorded(fetch: Fetch) -> Mapping[int, StoreRestored] | None:
    """Return the event of each era by number; None: the installation has no events, as with release 1.0.0."""
    if not fetch(_IS_RECORDED, (INSTALLATION.client_ext_id, INSTALLATION_STREAM)):
        return None
    rows = fetch(_EVENTS, (INSTALLATION.client_ext_id, StoreRestored.TOPIC))
    events = [decoded(StoreRestored.TOPIC, bytes(state)) for (state,) in rows]
    return {event.number: event for event in events if isinstance(event, StoreRestored)}


def _differences(row: EraRow, cuts: str, recorded: Mapping[int, StoreRestored]) -> Iterator[str]:
    place, event = f"number {row.number}", recorded.get(row.number)
    if event is None:
        fault = "no event contains this era: it was inserted, or the store was restored by release 1.0.0"
        yield f"table eras, {place}: {fault}"
        return
    for column, stored, wanted in (("name", row.name, event.era), ("began", row.began, event.began)):
        if stored != wanted:
            yield f"table eras, {place}: column {column} is {stored!r}, not {wanted!r}"
    if cuts != event.cuts:
        yield f"table era_cuts, {place}: the rows of this era differ from its event"


def _is_time(text: str) -> bool:
    with suppress(ValueError):
        parse_column_date(text)
        return True
    return False


def _era(_: int, change: Change[EraRow]) -> Row:
    return tuple(change.row or ())


def _cut(key: CutKey, change: Change[int]) -> Row:
    return (*key, change.row)


ERA_TABLE = Table(
    records=ERAS,
    store=Storing(
        columns={"number": "bigint", "name": "text", "began": "text"},
        statement="INSERT INTO eras (number, name, began) SELECT number, name, began FROM {new}",
        write=_era,
    ),
    check=era_faults,
)
ERA_CUT_TABLE = Table(
    records=ERA_CUTS,
    # A restore by release 1.0.0 that was interrupted leaves cuts without an era.
    store=Storing(
        columns=_CUT_COLUMNS, statement=upsert("era_cuts", _CUT_KEY, list(_CUT_COLUMNS)), write=_cut
    ),
)
