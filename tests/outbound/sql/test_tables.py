"""The statements that load and store rows."""

from itertools import permutations

from application.policies.records import policies_of
from application.tickets.records import ticket_of
from application.transaction.records import Load
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import _wanted
from interface.outbound.sql.tables import Tables
from tests.support.fakes import SUBJECT

OTHER = SUBJECT._replace(user_ext_id="other")


def test_equal_kinds_of_loads_share_a_statement_in_any_order() -> None:
    """A connection prepares each statement: a text for each order of a set would never end."""
    tables = Tables(TABLES)
    loads: list[Load] = [*ticket_of(SUBJECT), *ticket_of(OTHER), policies_of(SUBJECT.client_ext_id)]

    queries = [tables.load_query(order, _wanted) for order in permutations(loads)]

    assert len({query.statement for query in queries if query}) == 1
    for query in filter(None, queries):
        wanted = {
            source: set(prefixes) for source, prefixes in zip(query.sources, query.prefixes, strict=True)
        }
        assert wanted == {
            "tickets": {SUBJECT, OTHER},
            "recipients": {SUBJECT, OTHER},
            "policies": {(SUBJECT.client_ext_id,)},
        }
