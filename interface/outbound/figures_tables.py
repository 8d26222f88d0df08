"""What an operator watches, out of the tables: the same statements on both stores."""

from datetime import datetime

from application.figures import Figures
from application.outbox import Standing
from application.subscription_row import SubscriptionKey
from interface.outbound.sql_tables import SqlTables

_OUTBOX = "SELECT standing, count(*), min(minted) FROM outbox GROUP BY standing"
_LAGS = """
SELECT s.client_ext_id, s.name, coalesce(l.size, 0) - s.acknowledged
FROM subscriptions AS s LEFT JOIN ledger_sizes AS l ON l.client_ext_id = s.client_ext_id
WHERE s.pushed = 1
"""
# By the keys of both tables: how many checkpoints there are does not matter.
_UNSIGNED = """
SELECT min(first.occurred)
FROM ledger_sizes AS l
JOIN ledger AS first ON first.client_ext_id = l.client_ext_id AND first.position = 1 + coalesce(
    (SELECT max(c.size) FROM checkpoints AS c WHERE c.client_ext_id = l.client_ext_id), 0
)
"""


class SqlFigures(SqlTables):
    """Implements half of the port Watched; see there for what the methods promise."""

    def figures(self) -> Figures:
        """Return the figures."""
        outbox = [tuple(row) for row in self._fetch(_OUTBOX, ())]
        queued = [minted for standing, _, minted in outbox if standing == Standing.QUEUED]
        [unsigned] = self._fetch(_UNSIGNED, ())
        return Figures(
            outbox={**dict.fromkeys(Standing, 0), **{standing: count for standing, count, _ in outbox}},
            oldest_queued=datetime.fromisoformat(queued[0]) if queued else None,
            lags={
                SubscriptionKey(client, name): lag for client, name, lag in map(tuple, self._fetch(_LAGS, ()))
            },
            unsigned_since=datetime.fromisoformat(unsigned[0]) if unsigned[0] else None,
        )
