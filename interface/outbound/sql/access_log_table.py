"""The version of each client's access log, loaded from the ledger."""

from application.record.access_log import ACCESS_LOG
from interface.outbound.sql.table import Loading, Table

ACCESS_LOG_TABLE = Table(
    records=ACCESS_LOG,
    loading=Loading(
        prefix={"client_ext_id": "text", "stream": "uuid"},
        columns={"client_ext_id": "text", "max(version)": "bigint"},
        source="{wanted} JOIN ledger USING (client_ext_id, stream) GROUP BY client_ext_id",
        read=lambda client_ext_id, version: (client_ext_id, version),
    ),
)
