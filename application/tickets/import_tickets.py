"""Import the credentials of another system from JSON lines, in a stream; only the ids of earlier rows are kept in memory.

Each row is a command, and the group commit stores many of them in one transaction. A row that was imported before changes
nothing, so an import that was interrupted is repeated from the start.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import msgspec

from application.shared.errors import RowRefused
from application.shared.json_lines import RowFault, json_lines, parsed
from application.tickets.credential_row import CredentialRow
from application.tickets.import_ticket import ImportTicket
from application.tickets.minting import SlowWork
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from domain.shared.subject import Subject

# Rows that are submitted to the writer together.
CHUNK = 1000
MAX_FAULTS = 1000
ROW_INVALID, DUPLICATE, ROW_REFUSED = "RowInvalid", "DuplicateUser", "RowRefused"
DUPLICATE_MESSAGE = "An earlier row has the same userExtId."
# A row with its line.
_Read = tuple[int, CredentialRow]


@dataclass
class ImportReport:
    """The result of an import.

    created, changed, unchanged, refused: numbers of rows. states, hashes: numbers of imported credentials by state and by kind
    of hash; treatments: by `wrapped` or `admitted`, and assumed: by the field that the policy supplied. codes: numbers of
    refused rows by code; faults: one message per refused row, with its line (from 1), of the first MAX_FAULTS ones.
    """

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    states: Counter[str] = field(default_factory=Counter)
    hashes: Counter[str] = field(default_factory=Counter)
    treatments: Counter[str] = field(default_factory=Counter)
    assumed: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """The number of refused rows."""
        return self.codes.total()

    def refuse(self, line: int, code: str, message: str) -> None:
        """Report a refused row."""
        self.codes[code] += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"line {line}: {code}: {message}")

    def count(self, line: int, row: CredentialRow, answer: Answer) -> None:
        """Report the answer to a row."""
        if answer.refusal:
            self.refuse(line, answer.refusal, answer.body)
            return
        if answer.outcome == Outcome.UNCHANGED:
            self.unchanged += 1
            return
        self.created += answer.outcome == Outcome.CREATED
        self.changed += answer.outcome == Outcome.CHANGED
        self.states[row.stateName] += 1
        mapped = msgspec.json.decode(answer.body)
        self.hashes[mapped["hash"]] += 1
        self.treatments.update(filter(None, [mapped["treatment"]]))
        self.assumed.update(mapped["assumed"])


@dataclass(frozen=True, kw_only=True)
class Import:
    """The terms of an import. See ImportTicket and Command; the id of a command begins with `command_id`."""

    client_ext_id: str
    source: str
    salt_first: bool
    dry_run: bool
    actor: str
    correlation_id: str
    command_id: str
    history_digest: str | None = None

    def command(self, line: int, row: CredentialRow) -> ImportTicket:
        """Return the command that imports a row."""
        command_id = f"{self.command_id}-{line}"
        return ImportTicket(
            subject=Subject(self.client_ext_id, row.userExtId),
            actor=self.actor,
            correlation_id=self.correlation_id,
            command_id=command_id,
            request_digest=command_id,
            reason=row.modificationComment,
            row=row,
            source=self.source,
            salt_first=self.salt_first,
            dry_run=self.dry_run,
            history_digest=self.history_digest,
        )


class Submit(Protocol):
    """Queues commands; the future returns the answer or the exception of each, in the same order."""

    def __call__(self, commands: Sequence[Command], /) -> "Future[list[Answer | BaseException]]":
        """Queue them."""


def import_tickets(
    chunks: Iterable[bytes],
    terms: Import,
    *,
    submit: Submit,
    finish: Callable[[Sequence[SlowWork]], Iterable[Command]],
    report: ImportReport,
) -> None:
    """Import the credential of each row. Invalid rows are reported and skipped.

    finish: computes slow hashes, several at a time. Raises Unavailable.
    """
    rows = _valid(chunks, report)

    def count(read: Sequence[_Read], answers: Sequence[Answer | BaseException]) -> None:
        slow: list[tuple[_Read, SlowWork]] = []
        for row, answer in zip(read, answers, strict=True):
            if isinstance(answer, SlowWork):
                slow.append((row, answer))
            elif isinstance(answer, RowRefused):
                report.refuse(row[0], ROW_REFUSED, str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                report.count(*row, answer)
        if slow:
            commands = list(finish([work for _, work in slow]))
            count([row for row, _ in slow], submit(commands).result())

    # The next rows are read while the former ones are stored.
    former: tuple[Sequence[_Read], Future[list[Answer | BaseException]]] | None = None
    while read := list(islice(rows, CHUNK)):
        following = read, submit([terms.command(*line) for line in read])
        if former:
            count(former[0], former[1].result())
        former = following
    if former:
        count(former[0], former[1].result())


def _valid(chunks: Iterable[bytes], report: ImportReport) -> Iterator[_Read]:
    seen: set[str] = set()
    for line in json_lines(chunks):
        try:
            row = parsed(line, CredentialRow)
        except RowFault as fault:
            report.refuse(line.line, ROW_INVALID, str(fault))
            continue
        if row.userExtId in seen:
            report.refuse(line.line, DUPLICATE, DUPLICATE_MESSAGE)
            continue
        seen.add(row.userExtId)
        yield line.line, row
