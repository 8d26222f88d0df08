"""The tables of bulk jobs, of their frozen users and of their processed items: the same statements on both stores."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from application.bulk.records import (
    BULK_ITEMS,
    BULK_JOBS,
    BULK_OUTCOMES,
    BULK_USERS,
    PAGE,
    ItemKey,
    OutcomeKey,
    ProcessedItem,
    UsersKey,
)
from application.record.streams import column_date, parse_column_date
from application.transaction.records import Change
from domain.bulk.bulk_job import RESET, JobKey, JobState, JobStatus
from interface.outbound.sql.bulk_check import bulk_faults
from interface.outbound.sql.codec import encode
from interface.outbound.sql.sql_tables import SqlTables
from interface.outbound.sql.table import Column, Derived, Loading, Row, Storing, Table, upsert

to_job = msgspec.json.Decoder(JobState).decode
to_users = msgspec.json.Decoder(list[str]).decode

_OF_JOB = "client_ext_id = ? AND job = ?"
_ITEM = "number, user_ext_id, outcome, version, processed"
_DERIVED = Derived(
    columns={
        "client_ext_id": Column("text", attrgetter("client_ext_id")),
        "job": Column("text", attrgetter("job")),
        "version": Column("bigint", attrgetter("version")),
        "row": Column("bytea", encode),
        "status": Column("text", attrgetter("status.value")),
    },
    decode=to_job,
)
_ITEM_COLUMNS = {
    "client_ext_id": "text",
    "job": "text",
    "number": "bigint",
    "user_ext_id": "text",
    "outcome": "text",
    "version": "bigint",
    "processed": "text",
}
_USERS_COLUMNS = {"client_ext_id": "text", "job": "text", "first": "bigint", "users": "bytea"}


def _write_job(_: JobKey, change: Change[JobState]) -> Row:
    assert change.row  # noqa: S101 - a job is never removed
    return _DERIVED.row(change.row)


def _read_job(row: bytes) -> tuple[JobKey, JobState]:
    state = to_job(row)
    return state.key, state


def _write_users(key: UsersKey, change: Change[Sequence[str]]) -> Row:
    return (*key, encode(change.row))


def _write_item(key: ItemKey, change: Change[ProcessedItem]) -> Row:
    assert change.row  # noqa: S101 - an item is never removed
    user, outcome, version, time = change.row
    assert time  # noqa: S101 - of no dry run
    return (*key, user, outcome, version, column_date(time))


def _read_item(client: str, job: str, number: int, *processed: Any) -> tuple[ItemKey, ProcessedItem]:
    return ItemKey(client, job, number), to_processed(*processed)


def to_processed(user: str, outcome: str, version: int, time: str) -> ProcessedItem:
    """Return the processed item of these columns."""
    return ProcessedItem(user, outcome, version, parse_column_date(time))


def _inserted(table: str, columns: Mapping[str, str]) -> str:
    # Without ON CONFLICT: an item that is processed twice is a conflict.
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {{new}}"


BULK_JOB_TABLE = Table(
    records=BULK_JOBS,
    store=Storing(
        columns=_DERIVED.types,
        statement=upsert("bulk_jobs", _DERIVED.key, list(_DERIVED.columns)),
        write=_write_job,
    ),
    loading=Loading(
        prefix={"client_ext_id": "text", "job": "text"}, columns={"row": "bytea"}, read=_read_job
    ),
    derived=_DERIVED,
    check=bulk_faults,
)
BULK_USERS_TABLE = Table(
    records=BULK_USERS,
    store=Storing(
        columns=_USERS_COLUMNS, statement=_inserted("bulk_users", _USERS_COLUMNS), write=_write_users
    ),
)
BULK_ITEM_TABLE = Table(
    records=BULK_ITEMS,
    store=Storing(columns=_ITEM_COLUMNS, statement=_inserted("bulk_items", _ITEM_COLUMNS), write=_write_item),
    loading=Loading(
        prefix={"client_ext_id": "text", "job": "text", "number": "bigint"},
        columns=_ITEM_COLUMNS,
        read=_read_item,
    ),
)
BULK_OUTCOME_TABLE = Table(
    records=BULK_OUTCOMES,
    loading=Loading(
        prefix={"client_ext_id": "text", "job": "text"},
        columns={"client_ext_id": "text", "job": "text", "outcome": "text", "count(*)": "bigint"},
        source="{wanted} JOIN bulk_items USING (client_ext_id, job) GROUP BY client_ext_id, job, outcome",
        read=lambda client, job, outcome, count: (OutcomeKey(client, job, outcome), count),
    ),
)


class SqlBulkJobs(SqlTables):
    """Implements the port BulkJobs; the port documents the methods."""

    def bulk_job(self, key: JobKey) -> JobState | None:
        """Return a job; None if it does not exist."""
        rows = self._fetch(f"SELECT row FROM bulk_jobs WHERE {_OF_JOB}", key)
        return to_job(rows[0][0]) if rows else None

    def running_bulk_jobs(self) -> Sequence[JobState]:
        """Return the running jobs of all clients."""
        rows = self._fetch("SELECT row FROM bulk_jobs WHERE status = ?", (JobStatus.RUNNING.value,))
        return sorted((to_job(row) for (row,) in rows), key=attrgetter("created"))

    def unfinished_bulk_jobs(self, client_ext_id: str) -> int:
        """Return the number of running and paused jobs of a client."""
        statement = "SELECT count(*) FROM bulk_jobs WHERE client_ext_id = ? AND status IN (?, ?)"
        unfinished = (JobStatus.RUNNING.value, JobStatus.PAUSED.value)
        return int(self._fetch(statement, (client_ext_id, *unfinished))[0][0])

    def bulk_outcomes(self, key: JobKey) -> Mapping[str, int]:
        """Return the number of processed items by outcome."""
        statement = f"SELECT outcome, count(*) FROM bulk_items WHERE {_OF_JOB} GROUP BY outcome"
        return dict(map(tuple, self._fetch(statement, key)))

    def newest_bulk_times(self, key: JobKey, limit: int) -> Sequence[datetime]:
        """Return the times of the processed items with the highest numbers."""
        statement = f"SELECT processed FROM bulk_items WHERE {_OF_JOB} ORDER BY number DESC LIMIT ?"
        return [parse_column_date(time) for (time,) in self._fetch(statement, (*key, limit))]

    def bulk_users(self, key: JobKey, after: int) -> Sequence[tuple[int, str]]:
        """Return the next users with their numbers, after this number, up to the end of their page."""
        first = after // PAGE * PAGE + 1
        rows = self._fetch(f"SELECT users FROM bulk_users WHERE {_OF_JOB} AND first = ?", (*key, first))
        users = to_users(rows[0][0]) if rows else []
        return [(number, user) for number, user in enumerate(users, first) if number > after]

    def processed_items(self, key: JobKey, after: int, last: int) -> Mapping[int, ProcessedItem]:
        """Return the processed items with numbers in (after, last]."""
        statement = f"SELECT {_ITEM} FROM bulk_items WHERE {_OF_JOB} AND number > ? AND number <= ?"
        return dict(map(_numbered, self._fetch(statement, (*key, after, last))))

    def items_with(
        self, key: JobKey, after: int, limit: int, *, is_reset: bool
    ) -> Sequence[tuple[int, ProcessedItem]]:
        """Return the next items that were reset, or else refused, with their numbers."""
        condition = f"{_OF_JOB} AND outcome {'=' if is_reset else '<>'} ? AND number > ?"
        statement = f"SELECT {_ITEM} FROM bulk_items WHERE {condition} ORDER BY number LIMIT ?"
        return list(map(_numbered, self._fetch(statement, (*key, RESET, after, limit))))


def _numbered(row: Any) -> tuple[int, ProcessedItem]:
    number, *processed = row
    return number, to_processed(*processed)
