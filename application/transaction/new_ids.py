"""The rule for new ids, in a transaction. Stored ids that break it remain valid, also as clients of new ids."""

from collections.abc import Sequence

from application.transaction.records import Load, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.record.access_log import access_stream_id
from domain.shared.identifiers import check_new_id, fault_of_new_id

ACCESS_LOG = RecordSet[str, int]("access_log")
"""The version of the access log of each client that exists, read from the ledger.

A client exists if it has a ledger or a user: policies and subscriptions are never stored without an event.
"""


def access_log_of(client_ext_id: str) -> Load:
    """Load the version of the client's access log."""
    return Load(ACCESS_LOG, (client_ext_id, access_stream_id(client_ext_id)))


def client_of_new_id(client_ext_id: str) -> Sequence[Load]:
    """Load whether the client exists, if its id could not be a new one; usually nothing."""
    return [access_log_of(client_ext_id)] if fault_of_new_id(client_ext_id) else []


def check_new_id_in_client(unit: UnitOfWork, client_ext_id: str, name: str, text: str) -> None:
    """Check a new id, and its client, unless the client exists: its first id creates a client.

    name: of the id in the message. Raises InvalidIdentifier. The unit has loaded `client_of_new_id`.
    """
    check_new_id(name, text)
    if unit.get(ACCESS_LOG, client_ext_id) is None:
        check_new_id("clientExtId", client_ext_id)
