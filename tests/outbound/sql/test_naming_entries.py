"""The objects of a page are named by two index lookups for each stream, in a ledger of any size."""

from interface.outbound.sql.ledger_tables import _NAMING
from tests.support.ledgers import opened


def test_the_names_of_many_objects_are_found_by_index(sqlite_url: str) -> None:
    streams = [f"{number:032x}" for number in range(256)]
    statement = _NAMING.format(marks=",".join(["(?)"] * len(streams)))
    with opened(sqlite_url) as store:
        plan = store._fetch(f"EXPLAIN QUERY PLAN {statement}", 2 * (*streams, "client-123", 1_000_000))

    reads = [row[3] for row in plan if " ledger " in row[3]]
    assert [read.partition("(")[0] for read in reads] == [
        "SEARCH ledger USING INDEX ledger_by_stream ",
        "SEARCH ledger USING INDEX ledger_by_creation ",
    ]
