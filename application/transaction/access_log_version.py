"""The version of the access log of each client that exists, in a transaction."""

from application.transaction.records import Load, RecordSet
from domain.record.access_log import access_stream_id

ACCESS_LOG = RecordSet[str, int]("access_log")
"""The version of the access log of each client that exists, read from the ledger.

A client exists if it has a ledger or a user: policies and subscriptions are never stored without an event.
"""


def access_log_of(client_ext_id: str) -> Load:
    """Load the version of the client's access log."""
    return Load(ACCESS_LOG, (client_ext_id, access_stream_id(client_ext_id)))
