"""The rule for new ids, in a transaction. Stored ids that break it remain valid, also as clients of new ids."""

from collections.abc import Sequence

from application.transaction.access_log_version import ACCESS_LOG, access_log_of
from application.transaction.records import Load
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.identifiers import check_new_id, fault_of_new_id


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
