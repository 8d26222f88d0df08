"""Import users from a CSV file in a stream; only the ids of earlier lines are kept in memory.

A line that breaks a rule is reported and skipped. If the structure of the file is broken, the rest is not read: the users before
it are imported, and a second import of the corrected file continues.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic import ValidationError

from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.users.csv_rows import CsvFault, Row, csv_rows
from application.users.fields import UserFields
from application.users.register_user import RegisterUser
from domain.shared.errors import Refusal
from domain.shared.identifiers import fault_of_id, fault_of_new_id
from domain.shared.subject import Subject

COLUMNS = ["userExtId", *UserFields.model_fields]
_SYNONYMS = {"extId": "userExtId"}
_REQUIRED = set(COLUMNS[:2])
_LINE_BREAK = re.compile(r"\||\r?\n")
# Users that are submitted to the writer together.
CHUNK = 1000
MAX_FAULTS = 1000


class _Line(UserFields):
    userExtId: str


@dataclass
class ImportReport:
    """The result of an import. good, bad: the numbers of valid and invalid lines.

    faults: one message per invalid line, with its number (header: 1), of the first MAX_FAULTS ones.
    """

    good: int = 0
    bad: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    faults: list[str] = field(default_factory=list)

    def refuse(self, fault: str) -> None:
        """Report an invalid line."""
        self.bad += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


class InvalidImportFile(Exception):
    """The file has no valid header, or the client cannot have users."""


def import_users(
    chunks: Iterable[bytes],
    client_ext_id: str,
    *,
    actor: str,
    correlation_id: str,
    new_command_id: Callable[[], str],
    submit: Callable[[Command], Future[Answer]] | None,
    report: ImportReport,
    ignore_columns: bool = False,
) -> None:
    """Register the user of each line; the import is idempotent. Invalid lines are reported and skipped.

    submit: None for a dry run, which refuses each id that could not be a new one. ignore_columns: ignore unknown columns.
    Raises InvalidImportFile, Unavailable.
    """
    if fault := fault_of_id(client_ext_id):
        raise InvalidImportFile(f"client {client_ext_id!r} {fault}")

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

    users = _valid(csv_rows(chunks, [*COLUMNS, *_SYNONYMS]), report, ignore_columns)
    while chunk := list(islice(users, CHUNK)):
        if submit is None:
            for line, user in chunk:
                if fault := fault_of_new_id(user.userExtId):
                    _refuse(report, line, f"userExtId {fault}")
            continue
        for (line, _), future in [(row, submit(command(row[1]))) for row in chunk]:
            try:
                _count(future.result().unwrap(), report)
            except Refusal as refusal:
                _refuse(report, line, str(refusal))


def _refuse(report: ImportReport, line: int, fault: str) -> None:
    report.good -= 1
    report.refuse(f"line {line}: {fault}")


def _columns(rows: Iterator[Row], ignore_columns: bool) -> list[str]:
    """Return the names of the columns. Raises InvalidImportFile."""
    try:
        header = [name.strip() for name in next(rows, Row(1, [])).fields]
    except CsvFault as error:
        raise InvalidImportFile(str(error)) from None
    names = [_SYNONYMS.get(name, name) for name in header]
    known = [name for name in names if name in COLUMNS]
    if not set(known) >= _REQUIRED or len(set(known)) != len(known):
        raise InvalidImportFile(
            f"the first line must name each column once, in any order: {','.join(COLUMNS)}"
            " (userExtId or extId, and email, are required)"
        )
    unknown = [
        name or f"column {number} without a name" for number, name in enumerate(names, 1) if name not in known
    ]
    if unknown and not ignore_columns:
        raise InvalidImportFile(
            f"unknown columns: {', '.join(unknown)}. Remove them, or ignore them with --ignore-columns"
        )
    return names


def _valid(rows: Iterator[Row], report: ImportReport, ignore_columns: bool) -> Iterator[tuple[int, _Line]]:
    columns = _columns(rows, ignore_columns)
    seen: set[str] = set()
    while True:
        try:
            row = next(rows)
            _check_quotes(row, columns)
        except StopIteration:
            return
        except CsvFault as error:
            report.refuse(f"{error}. The rest of the file is not read")
            return
        if len(row.fields) != len(columns):
            report.refuse(f"line {row.line}: {len(row.fields)} fields instead of {len(columns)}")
            continue
        try:
            user = _Line.model_validate(_fields(columns, row.fields))
        except ValidationError as error:
            messages = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_url=False)
            )
            report.refuse(f"line {row.line}: {messages}")
            continue
        if fault := fault_of_id(user.userExtId):
            report.refuse(f"line {row.line}: userExtId {fault}")
            continue
        if user.userExtId in seen:
            report.refuse(f"line {row.line}: duplicate userExtId {user.userExtId}")
            continue
        seen.add(user.userExtId)
        report.good += 1
        yield row.line, user


def _check_quotes(row: Row, columns: list[str]) -> None:
    """Raise CsvFault if a line inside a field has the fields of a user: then two quotation marks can be missing."""
    lines = (line for text in row.fields for line in text.split("\n")[1:])
    if any(line.count(separator) + 1 == len(columns) for line in lines for separator in ",;\t"):
        raise CsvFault(
            row.line,
            "a field contains a line that looks like that of another user: close the quotation mark, or put | between the"
            " lines of an address",
        )


def _fields(columns: list[str], row: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value for name, value in zip(columns, row, strict=True) if value and name in COLUMNS
    }
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
