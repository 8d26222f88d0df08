"""Import users from the lines of a CSV file: any number of them; what is kept of a line is its id."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from application.shared.fields import ExtId, UserFields
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.users.register_user import RegisterUser
from domain.shared.subject import Subject

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

COLUMNS = ["userExtId", "email", "name", "language", "postalAddress"]
_LINE_BREAK = re.compile(r"\||\r?\n")
# Users that are handed to the writer before their answers are waited for.
CHUNK = 1000


class _Line(UserFields):
    userExtId: ExtId


@dataclass
class ImportReport:
    """What an import came to. `good`: lines that could be imported. `faults`: one text per bad line, each with its number, the header being line 1."""

    good: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    faults: list[str] = field(default_factory=list)


class InvalidImportFile(Exception):
    """A file that cannot be imported at all."""


def import_users(
    lines: Iterable[str],
    client_ext_id: str,
    *,
    actor: str,
    correlation_id: str,
    new_command_id: Callable[[], str],
    submit: Callable[[Command], Future[Answer]] | None,
    report: ImportReport,
) -> None:
    """Register the user of each line; the same again changes nothing. Bad lines are reported and passed over.

    submit: None for a dry run, which only checks. Raises InvalidImportFile where the header is wrong, Unavailable.
    """
    rows = csv.reader(lines)
    header = next(rows, [])
    if header[:2] != COLUMNS[:2] or not set(header) <= set(COLUMNS) or len(set(header)) != len(header):
        raise InvalidImportFile(f"the first line must be {','.join(COLUMNS)} (only the first two are needed)")

    def command(user: _Line) -> RegisterUser:
        command_id = new_command_id()
        return RegisterUser(
            subject=Subject(client_ext_id, user.userExtId),
            actor=actor,
            correlation_id=correlation_id,
            command_id=command_id,
            request_digest=command_id,
            email=user.email,
            name=user.name,
            language=user.language,
            postal_address=tuple(user.postalAddress) if user.postalAddress else None,
        )

    users = _valid(rows, header, report)
    while chunk := list(islice(users, CHUNK)):
        if submit is not None:
            for future in [submit(command(user)) for user in chunk]:
                _count(future.result().unwrap(), report)


def _valid(rows: "CsvReader", header: list[str], report: ImportReport) -> Iterator[_Line]:
    seen: set[str] = set()
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            report.faults.append(f"line {number}: {error}")
            continue
        if not row:
            continue
        if len(row) != len(header):
            report.faults.append(f"line {number}: {len(row)} fields, the header has {len(header)}")
            continue
        try:
            user = _Line.model_validate(_fields(header, row))
        except ValidationError as error:
            what = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_url=False)
            )
            report.faults.append(f"line {number}: {what}")
            continue
        if user.userExtId in seen:
            report.faults.append(f"line {number}: userExtId {user.userExtId} stands on an earlier line, too")
            continue
        seen.add(user.userExtId)
        report.good += 1
        yield user


def _fields(header: list[str], row: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value for name, value in zip(header, row, strict=True) if value}
    if "postalAddress" in fields:
        fields["postalAddress"] = [line.strip() for line in _LINE_BREAK.split(fields["postalAddress"])]
        fields.setdefault("email", None)
    return fields


def _count(answer: Answer, report: ImportReport) -> None:
    if answer.outcome == Outcome.CREATED:
        report.created += 1
    elif answer.outcome == Outcome.CHANGED:
        report.changed += 1
    else:
        report.unchanged += 1
