"""The users of a bulk job in a file: CSV with a column `userExtId`, or NDJSON with an id or an object in each line.

One user per line; blank lines are ignored. Each fault names its line, and the first one ends the reading.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from application.shared.json_lines import ROW_LIMIT, json_lines
from application.users.csv_rows import CsvFault, csv_rows
from domain.bulk.bulk_job import MAX_USERS
from domain.shared.errors import Kind, Refusal
from domain.shared.identifiers import fault_of_id

_COLUMNS = ("userExtId", "extId")


class Format(StrEnum):
    """The formats of a file, named by their media types."""

    CSV = "text/csv"
    NDJSON = "application/x-ndjson"


class InvalidBulkFile(Refusal):
    """The users of a bulk job cannot be read."""

    CODE = "BulkFileInvalid"
    KIND = Kind.INVALID


class _User(msgspec.Struct, forbid_unknown_fields=True):
    userExtId: str


_decode = msgspec.json.Decoder(str | _User).decode


def users_in(chunks: Iterable[bytes], form: Format) -> tuple[str, ...]:
    """Return the users in the order of the file, each once. Raises InvalidBulkFile with the number of the line."""
    users: dict[str, None] = {}
    try:
        for line, user in _csv(chunks) if form is Format.CSV else _ndjson(chunks):
            if fault := fault_of_id(user):
                raise InvalidBulkFile(f"line {line}: userExtId {fault}.")
            users[user] = None
            if len(users) > MAX_USERS:
                raise InvalidBulkFile(f"line {line}: a job may have {MAX_USERS} users at most.")
    except CsvFault as fault:
        raise InvalidBulkFile(f"{fault}.") from None
    return tuple(users)


def _csv(chunks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    rows = csv_rows(chunks, _COLUMNS)
    header = [name.strip() for name in next(rows, (1, []))[1]]
    found = [place for place, name in enumerate(header) if name in _COLUMNS]
    if len(found) != 1:
        raise InvalidBulkFile("line 1: the header must have one column userExtId.")
    for row in rows:
        if len(row.fields) != len(header):
            raise InvalidBulkFile(f"line {row.line}: {len(row.fields)} fields instead of {len(header)}.")
        yield row.line, row.fields[found[0]]


def _ndjson(chunks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    for line, content in json_lines(chunks):
        if content is None:
            raise InvalidBulkFile(f"line {line}: has over {ROW_LIMIT} bytes.")
        try:
            user = _decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidBulkFile(
                f'line {line}: not an id in quotation marks or {{"userExtId": …}}: {error}.'
            ) from None
        yield line, user if isinstance(user, str) else user.userExtId
