"""The commands for audit and compliance."""

import csv
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from application.record.evidence_scope import EvidenceScope, evidence_scope
from application.record.history import LogItem, reason_text
from application.record.replay import Findings
from application.shared.wire import to_json
from interface.cli.core.files import open_private
from interface.cli.core.ids import checked_client, checked_id
from interface.cli.core.messages import (
    counting,
    escaped_json,
    escaped_lines,
    fail,
    print_line,
    print_report,
)
from interface.verify_evidence import Wrong, parse_keys, shown, table, verify

Client = Annotated[str, typer.Argument(help="Client (tenant).", callback=checked_client)]
User = Annotated[str, typer.Argument(help="User.", callback=checked_id)]
Moment = Annotated[
    str | None,
    typer.Option(
        help="A date and time with its offset, such as 2026-03-03T12:00:00Z; includes every event of its second."
    ),
]
# A column is only ever added at the end.
_COLUMNS = (
    *("position", "time", "type", "userExtId", "version", "actor", "reason", "correlationId", "details"),
    *("aggregate", "aggregateId", "ticketExtId"),
)
_BYTES = ("stream", "state")
_LISTED = 100
NOT_RECORDED = "not recorded yet: "
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class RecordActions:
    """The actions of the commands; interface/composition creates it. Progress is reported as (done, total)."""

    history: Callable[[str, str], Iterable[Any]]
    past_ticket: Callable[[str, str, datetime | None, int | None], str]
    check: Callable[[Sequence[Path], Callable[[int, int], None]], Findings]
    rebuild: Callable[[Callable[[int, int], None]], Findings]
    permanent_comments: Callable[[str, str | None], Iterator[LogItem]]
    export: Callable[
        [str, datetime | None, datetime | None, bool, Callable[[int, int], None]], Iterator[Sequence[Any]]
    ]
    checkpoint: Callable[[str], str]
    evidence: Callable[[EvidenceScope, Mapping[str, object], int | None, Path | None], BinaryIO]


def add_commands(cli: typer.Typer, actions: RecordActions) -> None:
    """Add the commands."""
    _add_history(cli, actions)
    _add_replay(cli, actions)
    _add_export(cli, actions)
    _add_proofs(cli, actions)


def _add_history(cli: typer.Typer, actions: RecordActions) -> None:
    @cli.command()
    def history(
        client: Client,
        user: User,
        as_json: Annotated[bool, typer.Option("--json", help="A line of JSON per event.")] = False,
    ) -> None:
        """Show the history of a user's ticket, including deleted tickets."""
        items = list(actions.history(client, user))
        if as_json:
            for item in items:
                print_line(escaped_json(to_json(item)))
            return
        table = Table(title=Text(shown(f"Ticket of {user} in {client}")), box=SIMPLE)
        table.add_column("version", justify="right")
        table.add_column("event", no_wrap=True)
        table.add_column("changes", overflow="fold")
        for item in items:
            lines = [item["time"], item["type"], f"by {item['actor']}", f"position {item['position']}"]
            reason = [f"reason: {text}"] if (text := reason_text(item)) else []
            changes = [f"{c['field']}: {_shown(c['from'])} → {_shown(c['to'])}" for c in item["changes"]]
            cells = ([str(item["version"])], lines, [*reason, *changes])
            table.add_row(*(Text("\n".join(map(shown, cell))) for cell in cells))
        Console().print(table)


def _add_replay(cli: typer.Typer, actions: RecordActions) -> None:
    @cli.command()
    def replay(
        client: Annotated[
            str | None, typer.Argument(help="Client (tenant).", callback=checked_client)
        ] = None,
        user: Annotated[str | None, typer.Argument(help="User.", callback=checked_id)] = None,
        at: Moment = None,
        at_version: Annotated[int | None, typer.Option(min=1, help="The version to show.")] = None,
        check: Annotated[
            bool,
            typer.Option("--check", help="Replay every stream, and compare the result with the stored rows."),
        ] = False,
        checkpoint: Annotated[
            list[Path] | None,
            typer.Option(
                help="With --check: a checkpoint stored elsewhere, or a directory of checkpoints. Repeatable.",
                exists=True,
            ),
        ] = None,
    ) -> None:
        """Show a ticket at a past time; with --check, verify the complete record."""
        if check:
            with counting("checking") as report:
                findings = actions.check(checkpoint or [], report)
            report_findings(findings)
            if findings.faults or findings.lost:
                raise SystemExit(1)
            return
        if not client or not user:
            fail("name a client and a user, or give --check")
        if at and at_version:
            fail("--at and --at-version exclude each other: give one of them")
        print_line(escaped_json(actions.past_ticket(client, user, _moment(at), at_version)))

    @cli.command()
    def rebuild() -> None:
        """Rebuild the read model online, from the events.

        Prints each stream that differs from the ledger, and then exits with status 1. The row of such a stream is
        kept.
        """
        with counting("rebuilding") as report:
            findings = actions.rebuild(report)
        _report_faults(findings)
        Console().print(f"{findings.rows} rows rebuilt from their events.", highlight=False)
        if findings.faults:
            raise SystemExit(1)


def report_findings(findings: Findings) -> None:
    """Print the findings of a check of the record."""
    _report_faults(findings)
    for loss in findings.lost:
        print_report(f"lost: {loss}")
    for row in findings.unrecorded:
        print_report(f"{NOT_RECORDED}{row}")
    looked = f"{findings.events:,} events, {findings.rows:,} rows, {findings.checkpoints:,} checkpoints"
    lost = ", but signed entries are lost" if findings.lost else ""
    Console().print(f"{looked}: {len(findings.faults) or 'nothing'} differs{lost}", highlight=False)


def _report_faults(findings: Findings) -> None:
    for fault in findings.faults[:_LISTED]:
        print_report(f"differs: {fault}")
    if len(findings.faults) > _LISTED:
        print_report(f"… and {len(findings.faults) - _LISTED} more")


def _add_export(cli: typer.Typer, actions: RecordActions) -> None:
    audit = typer.Typer(help="The ledger of a client.", no_args_is_help=True)
    cli.add_typer(audit, name="audit")

    @audit.callback()
    def _() -> None:
        pass

    _add_permanent_comments(audit, actions)

    @audit.command()
    def export(
        client: Client,
        begin: Annotated[str | None, typer.Option("--from", help="From this date and time on.")] = None,
        end: Annotated[str | None, typer.Option("--to", help="Before this date and time.")] = None,
        as_csv: Annotated[
            bool, typer.Option("--csv", help="CSV instead of a line of JSON per entry.")
        ] = False,
        raw: Annotated[
            bool,
            typer.Option(
                "--raw", help="With --csv: the values as they are, for a program instead of a spreadsheet."
            ),
        ] = False,
        with_bytes: Annotated[
            bool,
            typer.Option(
                "--with-bytes",
                help="Also the stream and the stored bytes (base64), which determine the root.",
            ),
        ] = False,
    ) -> None:
        """Write every entry of a client's ledger to standard output, by position.

        In CSV, a value that a spreadsheet would take for a formula begins with an apostrophe, and control characters are
        escaped.
        """
        first, last = _moment(begin), _moment(end)
        if first and last and first > last:
            fail("--from must not be after --to")
        columns = (*_COLUMNS, *(_BYTES if with_bytes else ()))
        writer = csv.DictWriter(sys.stdout, columns) if as_csv else None
        if writer:
            writer.writeheader()
        with counting("exporting") as report:
            for items in actions.export(client, first, last, with_bytes, report):
                if not writer:
                    sys.stdout.write(escaped_lines(items))
                    continue
                for item in items:
                    row = {**item, "reason": reason_text(item), "details": to_json(item["details"])}
                    row.pop("reasonErased", None)
                    writer.writerow(row if raw else {name: _cell(value) for name, value in row.items()})


def _add_permanent_comments(audit: typer.Typer, actions: RecordActions) -> None:
    @audit.command()
    def permanent_comments(
        client: Client,
        user: Annotated[
            str | None, typer.Option(help="Only the events of this user.", callback=checked_id)
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="A line of JSON per event.")] = False,
    ) -> None:
        """List the events whose comment cannot be erased: release 1.0 stored it in the hashed bytes of the event."""
        items = actions.permanent_comments(client, user)
        if as_json:
            for item in items:
                print_line(escaped_json(to_json(item)))
            return
        table = Table(title=Text(shown(f"Permanent comments in {client}")), box=SIMPLE)
        for column in ("position", "time", "event", "user", "comment"):
            table.add_column(column, overflow="fold")
        for item in items:
            cells = (item["position"], item["time"], item["type"], item["userExtId"] or "", reason_text(item))
            table.add_row(*(Text(shown(str(cell))) for cell in cells))
        Console().print(table)
        Console().print(f"Comments that cannot be erased: {table.row_count}", highlight=False)


def _cell(value: object) -> object:
    """Return a value for a spreadsheet: as text, never as a formula."""
    if not isinstance(value, str):
        return value
    return f"'{shown(value)}" if value.startswith(_FORMULAS) else shown(value)


def _add_proofs(cli: typer.Typer, actions: RecordActions) -> None:
    @cli.command()
    def checkpoint(client: Client) -> None:
        """Sign the current state of a client's ledger, and print the checkpoint."""
        sys.stdout.write(actions.checkpoint(client))

    evidence = typer.Typer(help="Evidence of events.", no_args_is_help=True)
    cli.add_typer(evidence, name="evidence")

    @evidence.command()
    def export(
        client: Client,
        output: Annotated[Path, typer.Option("--output", "-o", help="The ZIP to write.", dir_okay=False)],
        checkpoint: Annotated[
            Path | None,
            typer.Option(help="An older checkpoint to prove consistency with.", exists=True, dir_okay=False),
        ] = None,
        since: Annotated[
            int | None, typer.Option(min=1, help="The size of that checkpoint, instead of its file.")
        ] = None,
        user: Annotated[
            str | None,
            typer.Argument(help="User, for the evidence of the user's ticket.", callback=checked_id),
        ] = None,
        policy: Annotated[
            str | None, typer.Option(help="Only the events of this policy.", callback=checked_id)
        ] = None,
        subscription: Annotated[
            str | None, typer.Option(help="Only the events of this subscription.", callback=checked_id)
        ] = None,
        stream: Annotated[
            str | None, typer.Option(help="Only the events of the stream with this UUID.")
        ] = None,
        first: Annotated[
            int | None, typer.Option(min=1, help="Only the entries from this position on.")
        ] = None,
        last: Annotated[int | None, typer.Option(min=1, help="Only the entries up to this position.")] = None,
    ) -> None:
        """Write evidence to a ZIP file: of a user's ticket, of a policy and so on, or of the complete ledger."""
        if checkpoint and since:
            fail("--checkpoint and --since exclude each other")
        given: dict[str, Any] = {
            "policy": policy,
            "subscription": subscription,
            "stream": stream,
            "first": first,
            "last": last,
        }
        try:
            scope = evidence_scope(client, user=user, **given)
        except ValueError as error:
            fail(str(error))
        with actions.evidence(scope, {"user": user, **given}, since, checkpoint) as content:
            try:
                with open_private(output) as file:
                    shutil.copyfileobj(content, file)
            except OSError as error:
                fail(f"{output} cannot be written: {error}")
            Console().print(f"{output}: {content.seek(0, os.SEEK_END):,} bytes", highlight=False)

    @evidence.command(name="verify")
    def verify_(
        file: Annotated[Path, typer.Argument(help="The evidence, a ZIP.", dir_okay=False)],
        key: Annotated[
            str, typer.Option(help="Verifier key (name+hash+base64), or a file with one per line.")
        ],
        checkpoint: Annotated[
            Path | None, typer.Option(help="An older checkpoint that the evidence must be consistent with.")
        ] = None,
        show: Annotated[bool, typer.Option("--show", help="Print the verified events.")] = False,
    ) -> None:
        """Verify an evidence file, as verify_evidence.py does without the service."""
        try:
            content, old = file.read_bytes(), checkpoint.read_bytes() if checkpoint else None
            keys = key if "+" in key else Path(key).read_text()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot be read: {error}")
        try:
            found = verify(content, parse_keys(keys), old)
        except Wrong as wrong:
            Console().print(f"NOT VERIFIED: {wrong}", highlight=False, markup=False, soft_wrap=True)
            raise SystemExit(1) from None
        text = f"VERIFIED: {found}" + (f"\n\n{table(found)}" if show else "")
        Console().print(text, highlight=False, markup=False, soft_wrap=True)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a date and time such as 2026-03-03T12:00:00Z")
    if moment.tzinfo is None:
        fail(f"{text!r} has no offset: a valid time is 2026-03-03T12:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        fail(f"{text!r} is out of range: the years 1 to 9999 are valid, in UTC")


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
