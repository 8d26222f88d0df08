"""What an operator watches, out of the tables: the same statements on both stores."""

from collections import Counter
from datetime import datetime

from application.delivery.outbox import OutboxStatus
from application.operations.figures import Figures
from domain.subscriptions.subscription import Status
from interface.outbound.sql.sql_tables import SqlTables
from interface.outbound.sql.subscription_tables import subscription_row

_OUTBOX = "SELECT standing, count(*), min(minted) FROM outbox GROUP BY standing"
_SUBSCRIPTIONS = """
SELECT s.row, coalesce(l.size, 0) - s.acknowledged
FROM subscriptions AS s LEFT JOIN ledger_sizes AS l ON l.client_ext_id = s.client_ext_id
WHERE s.deleted = 0
"""
# One that is parked is as far behind as before. One that is paused or disabled is behind because somebody wants it so.
_WATCHED = (Status.ENABLED, Status.PARKED)
# By the keys of both tables: how many checkpoints there are does not matter.
_UNSIGNED = """
SELECT min(first.occurred)
FROM ledger_sizes AS l
JOIN ledger AS first ON first.client_ext_id = l.client_ext_id AND first.position = 1 + coalesce(
    (SELECT max(c.size) FROM checkpoints AS c WHERE c.client_ext_id = l.client_ext_id), 0
)
"""


class SqlFigures(SqlTables):
    """Implements half of the port FiguresSource; see there for what the methods promise."""

    def figures(self) -> Figures:
        """Return the figures."""
        outbox = [tuple(row) for row in self._fetch(_OUTBOX, ())]
        queued = [minted for standing, _, minted in outbox if standing == OutboxStatus.QUEUED]
        [unsigned] = self._fetch(_UNSIGNED, ())
        subscribed = [
            (subscription_row(row), lag) for row, lag in map(tuple, self._fetch(_SUBSCRIPTIONS, ()))
        ]
        return Figures(
            outbox={**dict.fromkeys(OutboxStatus, 0), **{standing: count for standing, count, _ in outbox}},
            oldest_queued=datetime.fromisoformat(queued[0]) if queued else None,
            lags={row.key: lag for row, lag in subscribed if row.status in _WATCHED},
            unsigned_since=datetime.fromisoformat(unsigned[0]) if unsigned[0] else None,
            subscriptions={**dict.fromkeys(Status, 0), **Counter(row.status for row, _ in subscribed)},
        )
