"""The actions of the commands for the record."""

import base64
import multiprocessing
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import typer

from application.record.access_log import READ, NoteAccess
from application.record.checkpoint import CheckpointSender, make_checkpoint
from application.record.evidence import make_evidence
from application.record.evidence_scope import EvidenceScope
from application.record.history import HistoryItem, LogItem, history, log_items, log_pages, past_ticket
from application.record.installation import is_recent, newest_check
from application.record.ledger import Checkpoint, HistoryQuery, LedgerEntry
from application.record.past_states import PastStates
from application.record.permanent_comments import permanent_comments
from application.record.replay import (
    Findings,
    check_ledger,
    check_streams,
    rebuild,
    stream_ranges,
    unless_unreadable,
    unrecorded_rows,
)
from application.record.stream_heads import StreamHeads
from application.shared.wire import to_json
from application.tickets.records import TicketNotFound
from application.tickets.response import to_response
from application.transaction.group_commit import Background
from domain.record.installation import OperatorActed
from domain.shared.subject import Subject
from interface.cli.record import commands
from interface.composition.checkpoints import witnesses
from interface.composition.installation import note, note_check, operator
from interface.composition.service import (
    in_background,
    ledger_keys,
    open_at,
    open_store,
    require_store,
    row_sealer,
)
from interface.outbound.files.head_files import HeadFiles
from interface.outbound.keys.ledger_keys import NoteVerifier, read_checkpoints
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings, read_settings
from interface.trace_context import new_traceparent

Result = TypeVar("Result")
_LOWEST_PRIORITY = 19
_PARTS = 16
# Below this number of entries, the start of processes takes longer than the work.
_FEW = 10_000


def settings_of_a_store() -> Settings:
    """Return the settings. Raises InvalidSettings if there is no store."""
    settings = read_settings()
    require_store(settings)
    return settings


def watched(background: Background, client: str, user: str, operation: str, **filters: object) -> Subject:
    """Record that a user of the command line reads a client's record, with the filters that are set. Raises UnknownClient."""
    subject = Subject(client, user)
    values = {name: value for name, value in filters.items() if value is not None}
    background.execute(
        NoteAccess(
            subject=subject,
            actor=operator(),
            correlation_id=new_traceparent(),
            command_id=secrets.token_hex(16),
            request_digest="",
            operation=operation,
            outcome=READ,
            filters=tuple(values),
            reason=urlencode(values) or None,
        )
    )
    return subject


def show_history(client: str, user: str) -> list[HistoryItem]:
    """Return the history of a user's ticket. Raises TicketNotFound, Unavailable, InvalidSettings."""
    with in_background(settings_of_a_store()) as (running, background):
        subject = watched(background, client, user, "tickets history")
        return list(history(subject, ledger=running.store))


def show_past(client: str, user: str, at: datetime | None, version: int | None) -> str:
    """Return a ticket as it was, as JSON. Raises TicketNotFound, Unavailable, InvalidSettings."""
    with in_background(settings_of_a_store()) as (running, background):
        subject = watched(background, client, user, "tickets replay", at=at, atVersion=version)
        moment = at or (None if version else system_clock())
        row, now = past_ticket(
            subject, store=running.store, clock=system_clock, kept=PastStates(), at=moment, version=version
        )
        return to_json(to_response(row, now))


def export_log(
    client: str,
    begin: datetime | None,
    end: datetime | None,
    with_bytes: bool,
    report: Callable[[int, int], None],
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the entries of a client's ledger in a period, in pages. Raises Unavailable, InvalidSettings.

    with_bytes: each with its stream and the stored bytes.
    """
    with in_background(settings_of_a_store()) as (running, background):
        watched(background, client, "", "tickets audit export", **{"from": begin, "to": end})
        ledger = running.store
        size = ledger.size(client)
        for page in log_pages(HistoryQuery(client, begin=begin, end=end), ledger=ledger):
            items: Sequence[Mapping[str, Any]] = log_items(page, ledger=ledger)
            if with_bytes:
                items = [{**item, **_bytes_of(entry)} for entry, item in zip(page, items, strict=True)]
            yield items
            report(page[-1].position, size)


def _bytes_of(entry: LedgerEntry) -> Mapping[str, str]:
    return {"stream": str(entry.stream), "state": base64.b64encode(entry.state).decode()}


def list_permanent_comments(client: str, user: str | None) -> Iterator[LogItem]:
    """Yield the entries whose comment cannot be erased. Raises UnknownClient, Unavailable, InvalidSettings."""
    with in_background(settings_of_a_store()) as (running, background):
        watched(background, client, user or "", "tickets audit permanent-comments")
        yield from permanent_comments(client, user, ledger=running.store)


def sign_now(client: str) -> str:
    """Return a checkpoint of a client's current ledger. Raises LedgerBroken, Unavailable, InvalidSettings."""
    with in_background(settings_of_a_store()) as (running, _):
        made = make_checkpoint(client, ledger=running.store, signer=running.keys, clock=system_clock)
        if made is None:
            raise TicketNotFound(f"Client {client!r} has no ledger: it has no events.")
        CheckpointSender(running.store, witnesses(running.settings)).run()
        note(running.store, OperatorActed, "tickets checkpoint", failed=False, client=client, size=made.size)
        return made.note


def export_evidence(
    scope: EvidenceScope, given: Mapping[str, object], since: int | None, checkpoint: Path | None
) -> BinaryIO:
    """Return evidence that is consistent with a checkpoint or one of that size. given: the parts of the scope by name.

    Raises TicketNotFound, LedgerBroken, Unavailable, InvalidSettings.
    """
    if checkpoint:
        [older] = _checkpoints_in([checkpoint])
        if older.client_ext_id != scope.client_ext_id:
            raise InvalidSettings(f"{checkpoint} is a checkpoint of client {older.client_ext_id!r}")
        since = older.size
    with in_background(settings_of_a_store()) as (running, background):
        filters = {**given}
        user = str(filters.pop("user") or "")
        watched(background, scope.client_ext_id, user, "tickets evidence export", **filters)
        return make_evidence(
            scope,
            ledger=running.store,
            signer=running.keys,
            clock=system_clock,
            heads=StreamHeads(saved=HeadFiles(running.settings.heads_dir)),
            since=since,
        )


def check_record(
    checkpoints: Sequence[Path],
    report: Callable[[int, int], None],
    operation: str = "tickets replay --check",
    processes: int | None = None,
) -> Findings:
    """Verify the complete record, and compare it with the signed checkpoints; the result is recorded.

    processes: None for one per core. Raises Unavailable, InvalidSettings.
    """
    settings = settings_of_a_store()
    keys, findings = ledger_keys(settings), Findings()
    outside = _outside(checkpoints, settings)
    with closing(open_store(settings)) as store:
        findings.faults.extend(store.mistyped_values())
        verifier = NoteVerifier([key for _, key in keys.public()])
        clients = sorted({*store.clients(), *(checkpoint.client_ext_id for checkpoint in outside)})
        for client in clients:
            mine = [checkpoint for checkpoint in outside if checkpoint.client_ext_id == client]
            of_client = partial(check_ledger, client, ledger=store, verifier=verifier, outside=mine)
            findings.add(unless_unreadable(f"client {client!r}, its ledger", of_client))
        findings.add(unless_unreadable("the rows", lambda: Findings(faults=[*store.orphaned_rows()])))
        findings.add(unless_unreadable("the users", lambda: Findings(unrecorded=unrecorded_rows(store))))
        entries = findings.entries
        for part in _in_parts(check_part, settings.database_url, clients, entries, report, processes):
            findings.add(part)
        # A running service may add events during the check.
        if findings.events < findings.entries:
            findings.faults.append(
                f"{findings.entries - findings.events} entries of the ledger are in no stream"
            )
        note_check(store, operation, findings)
    return findings


def _outside(checkpoints: Sequence[Path], settings: Settings) -> Sequence[Checkpoint]:
    return _checkpoints_in([*checkpoints, *([settings.checkpoint_dir] if settings.checkpoint_dir else [])])


def _checkpoints_in(places: Sequence[Path]) -> Sequence[Checkpoint]:
    try:
        return read_checkpoints(places)
    except (OSError, ValueError) as error:
        raise InvalidSettings(str(error)) from error


def run_check(
    every_seconds: int, processes: int | None, report: Callable[[int, int], None]
) -> Findings | str:
    """Check the record at the lowest priority. Returns the reason if it was not checked. Raises Unavailable, InvalidSettings.

    every_seconds: do nothing if the newest check is younger. processes: None for one per core.
    """
    os.nice(_LOWEST_PRIORITY)
    with closing(open_store(settings_of_a_store())) as store, store.lease("check") as held:
        if not held:
            return "Another process runs this job now."
        if is_recent(newest_check(store), system_clock(), timedelta(seconds=every_seconds)):
            return f"The newest check is younger than {every_seconds} seconds."
        return check_record([], report, "tickets jobs check", processes)


def rebuild_rows(report: Callable[[int, int], None]) -> Findings:
    """Rebuild the read model from the events; see application.record.replay.rebuild. Raises Unavailable, InvalidSettings."""
    settings = settings_of_a_store()
    with closing(open_store(settings)) as store:
        findings = Findings(faults=[*store.mistyped_values()])
        clients, entries = store.clients(), sum(size for _, size in store.sizes())
        if not findings.faults:
            store.rebuild_times()
        if not findings.faults:
            for part in _in_parts(rebuild_part, settings.database_url, clients, entries, report):
                findings.add(part)
        faults = len(findings.faults)
        note(store, OperatorActed, "tickets rebuild", failed=bool(faults), rows=findings.rows, faults=faults)
    return findings


def _in_parts(
    work: Callable[[str, str, UUID, UUID], Result],
    database_url: str,
    clients: Sequence[str],
    entries: int,
    report: Callable[[int, int], None],
    processes: int | None = None,
) -> Iterator[Result]:
    """Do the work for every range of streams of every client. processes: None for one per core, 1 for this one."""
    if entries < _FEW or processes == 1:
        for done, client in enumerate(clients, start=1):
            yield work(database_url, client, *stream_ranges(1)[0])
            report(done, len(clients))
        return
    parts = [(client, *streams) for client in clients for streams in stream_ranges(_PARTS)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, database_url, *part) for part in parts]
        for done, future in enumerate(futures, start=1):
            yield future.result()
            report(done, len(parts))


def check_part(database_url: str, client: str, begin: UUID, end: UUID) -> Findings:
    """Check a range of streams, in a separate process."""
    place = f"client {client!r}, streams {begin} to {end}"
    with closing(open_at(database_url)) as store:
        return unless_unreadable(place, partial(check_streams, client, begin, end, ledger=store))


def rebuild_part(database_url: str, client: str, begin: UUID, end: UUID) -> Findings:
    """Rebuild a range of streams, in a separate process."""
    with closing(open_at(database_url, row_sealer(read_settings()))) as store:
        return rebuild(client, begin, end, ledger=store)


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    actions = commands.RecordActions(
        history=show_history,
        past_ticket=show_past,
        check=check_record,
        rebuild=rebuild_rows,
        permanent_comments=list_permanent_comments,
        export=export_log,
        checkpoint=sign_now,
        evidence=export_evidence,
    )
    commands.add_commands(cli, actions)
