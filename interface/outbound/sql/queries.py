"""The queries of every capability: the same on both stores."""

from interface.outbound.sql.bulk_tables import SqlBulkJobs
from interface.outbound.sql.figures_tables import SqlFigures
from interface.outbound.sql.ledger_tables import SqlLedger
from interface.outbound.sql.outbox_tables import SqlOutbox
from interface.outbound.sql.subscription_tables import SqlSubscriptions
from interface.outbound.sql.ticket_table import SqlTickets
from interface.outbound.sql.user_table import SqlUsers


class SqlQueries(SqlLedger, SqlTickets, SqlUsers, SqlSubscriptions, SqlOutbox, SqlBulkJobs, SqlFigures):
    """Implements the ports of every capability; a capability with queries lists its class here."""
