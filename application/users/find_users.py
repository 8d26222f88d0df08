"""List the users of a client, page by page."""

from application.shared.paging import Results
from application.users.records import Users
from domain.users.recipient import Recipient


def find_users(client_ext_id: str, after: str, limit: int, *, store: Users) -> Results[Recipient]:
    """Return the users after an id, sorted by id. Raises StoreUnavailable."""
    found = store.list_recipients(client_ext_id, after, limit + 1)
    return Results(found[:limit], len(found) > limit)
