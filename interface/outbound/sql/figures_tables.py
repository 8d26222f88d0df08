"""The figures for monitoring: the same statements on both stores."""

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
# A parked subscription keeps its lag. Paused and disabled subscriptions lag on purpose.
_WATCHED = (Status.ENABLED, Status.PARKED)
# Uses the keys of both tables, so its cost does not grow with the number of checkpoints.
_UNSIGNED = """
SELECT min(first.occurred)
FROM ledger_sizes AS l
JOIN ledger AS first ON first.client_ext_id = l.client_ext_id AND first.position = 1 + coalesce(
    (SELECT max(c.size) FROM checkpoints AS c WHERE c.client_ext_id = l.client_ext_id), 0
)
"""


class SqlFigures(SqlTables):
    """Implements half of the port FiguresSource; the port documents the methods."""

    def figures(self) -> Figures:
        """Return the figures."""
        outbox = [tuple(row) for row in self._fetch(_OUTBOX, ())]
        queued = [minted for status, _, minted in outbox if status == OutboxStatus.QUEUED]
        [unsigned] = self._fetch(_UNSIGNED, ())
        subscribed = [
            (subscription_row(row), lag) for row, lag in map(tuple, self._fetch(_SUBSCRIPTIONS, ()))
        ]
        return Figures(
            outbox={**dict.fromkeys(OutboxStatus, 0), **{status: count for status, count, _ in outbox}},
            oldest_queued=datetime.fromisoformat(queued[0]) if queued else None,
            lags={row.key: lag for row, lag in subscribed if row.status in _WATCHED},
            unsigned_since=datetime.fromisoformat(unsigned[0]) if unsigned[0] else None,
            subscriptions={**dict.fromkeys(Status, 0), **Counter(row.status for row, _ in subscribed)},
        )
