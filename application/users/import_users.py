"""Import users from a CSV file in a stream; only the ids of earlier lines are kept in memory."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from application.shared.fields import ExtId
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.users.fields import UserFields
from application.users.register_user import RegisterUser
from domain.shared.subject import Subject

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

COLUMNS = ["userExtId", *UserFields.model_fields]
_LINE_BREAK = re.compile(r"\||\r?\n")
# Users that are submitted to the writer together.
CHUNK = 1000


class _Line(UserFields):
    userExtId: ExtId


@dataclass
class ImportReport:
    """The result of an import. good: the number of valid lines. faults: one message per invalid line, with its number (header: 1)."""

    good: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    faults: list[str] = field(default_factory=list)


class InvalidImportFile(Exception):
    """The file has no valid header."""


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
    """Register the user of each line; the import is idempotent. Invalid lines are reported and skipped.

    submit: None for a dry run. Raises InvalidImportFile, Unavailable.
    """
    rows = csv.reader(lines)
    header = next(rows, [])
    if header[:2] != COLUMNS[:2] or not set(header) <= set(COLUMNS) or len(set(header)) != len(header):
        raise InvalidImportFile(
            f"the first line must be {','.join(COLUMNS)} (only the first two columns are required)"
        )

    def command(user: _Line) -> RegisterUser:
        command_id = new_command_id()
        return RegisterUser(
            subject=Subject(client_ext_id, user.userExtId),
            actor=actor,
            correlation_id=correlation_id,
            command_id=command_id,
            request_digest=command_id,
            contact=user.contact,
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
            report.faults.append(f"line {number}: {len(row)} fields instead of {len(header)}")
            continue
        try:
            user = _Line.model_validate(_fields(header, row))
        except ValidationError as error:
            messages = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_url=False)
            )
            report.faults.append(f"line {number}: {messages}")
            continue
        if user.userExtId in seen:
            report.faults.append(f"line {number}: duplicate userExtId {user.userExtId}")
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
