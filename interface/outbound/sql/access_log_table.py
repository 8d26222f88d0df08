"""The version of each client's access log, loaded from the ledger; a client that does not exist has no row."""

from application.transaction.access_log_version import ACCESS_LOG
from interface.outbound.sql.table import Loading, Table

# One index lookup each, however long the log is.
_VERSION = (
    "coalesce((SELECT max(version) FROM ledger WHERE ledger.client_ext_id = wanted.client_ext_id"
    " AND ledger.stream = wanted.stream), 0)"
)
_EXISTS = " OR ".join(
    f"EXISTS (SELECT 1 FROM {table} AS known WHERE known.client_ext_id = wanted.client_ext_id)"
    for table in ("ledger_sizes", "recipients")
)
ACCESS_LOG_TABLE = Table(
    records=ACCESS_LOG,
    loading=Loading(
        prefix={"client_ext_id": "text", "stream": "uuid"},
        columns={"wanted.client_ext_id": "text", _VERSION: "bigint"},
        source=f"{{wanted}} WHERE {_EXISTS}",
        read=lambda client_ext_id, version: (client_ext_id, version),
    ),
)
