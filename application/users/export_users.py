"""Export the users of a client as a CSV file for an import."""

import csv
import io
from collections.abc import Iterator

from application.shared.wire import to_camel_case
from application.users.find_users import find_users
from application.users.import_users import COLUMNS
from application.users.records import Users
from domain.users.recipient import Recipient

PAGE = 1_000


def export_users(client_ext_id: str, *, store: Users) -> Iterator[str]:
    """Yield the header, and the lines of each page of users, sorted by id. Raises StoreUnavailable."""
    yield _lines([dict(zip(COLUMNS, COLUMNS, strict=True))])
    after = ""
    while True:
        found = find_users(client_ext_id, after, PAGE, store=store)
        yield _lines([_fields(user) for user in found.items])
        if not found.more:
            return
        after = found.items[-1].user_ext_id


def _fields(user: Recipient) -> dict[str, str]:
    fields = {"userExtId": user.user_ext_id, **to_camel_case(user.contact)}
    fields["postalAddress"] = "|".join(fields["postalAddress"] or ())
    return fields


def _lines(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()
