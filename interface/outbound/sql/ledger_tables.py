"""The ledger's tables: the same statements on both stores, with `?` for parameters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from application.record.eras import Era, Eras
from application.record.installation import EraRow
from application.record.ledger import TILE, Checkpoint, HistoryQuery, LedgerBroken, LedgerEntry
from application.record.streams import column_date, parse_column_date
from domain.shared.subject import Subject
from interface.outbound.sql.derived_rows import SqlDerivedRows
from interface.outbound.sql.era_tables import era_rows
from interface.outbound.sql.event_tables import NO_STREAM, uuid_of
from interface.outbound.sql.table import Row, chunks, padded

_BEFORE_ALL_DATES, _AFTER_ALL_DATES = "", "~"
_NO_END = 2**62
_BLOCKS_PER_STATEMENT = 256
_ENTRY = """
SELECT client_ext_id, position, stream, version, user_ext_id, ledger.topic, occurred, actor, trace_id, leaf, state
FROM ledger JOIN ticket_events ON originator_id = stream AND originator_version = version
"""
_ENTRY_OR_GAP = """
SELECT client_ext_id, position, stream, version, user_ext_id, ledger.topic, occurred, actor, trace_id, leaf, state,
       ticket_events.topic
FROM ledger LEFT JOIN ticket_events ON originator_id = stream AND originator_version = version {is_event}
WHERE client_ext_id = ? {is_readable}
"""
_NEWEST_TIME = """
SELECT max(occurred) FROM ledger_sizes AS known
JOIN ledger ON ledger.client_ext_id = known.client_ext_id AND position = size
"""
# CROSS JOIN and the plus choose the order and the index: otherwise SQLite reads the complete ledger for a list of streams.
_NAMED = _ENTRY.replace("FROM ledger", "FROM (VALUES {marks}) AS wanted CROSS JOIN ledger")
_NAMING = f"""
{_NAMED} WHERE client_ext_id = ? AND stream = column1 AND version = 1 AND position <= ?
UNION ALL {_NAMED} WHERE client_ext_id = ? AND stream = column1 AND version > 1 AND +position <= ?
    AND ledger.topic = 'TicketCreated'
"""
# The expression and the range choose the index by user: otherwise SQLite reads every entry of the client.
_NEWEST_OF_USER = f"""
{_ENTRY} WHERE client_ext_id = ? AND user_ext_id = ? AND ledger.topic || '' IN ({{marks}}) AND position > 0
ORDER BY position DESC LIMIT ?
"""
_COUNTS = "SELECT (SELECT count(*) FROM ticket_events), (SELECT count(*) FROM ledger)"
_STRAYS = """
SELECT originator_id, originator_version FROM ticket_events EXCEPT SELECT stream, version FROM ledger
"""
# Readers never reach these rows: they begin with the first position, entry and tile.
_OUTSIDE = f"""
SELECT client_ext_id, 'ledger', 'position', position FROM ledger WHERE position < 1
UNION ALL SELECT client_ext_id, 'checkpoints', 'size', size FROM checkpoints WHERE size < 1
UNION ALL SELECT tile.client_ext_id, name, 'number', number FROM (
    SELECT client_ext_id, number, 'ledger_tiles' AS name FROM ledger_tiles
    UNION ALL SELECT client_ext_id, number, 'ledger_times' FROM ledger_times
) AS tile LEFT JOIN ledger_sizes AS known ON known.client_ext_id = tile.client_ext_id
WHERE number < 0 OR number >= coalesce(size, 0) / {TILE}
"""
# The full blocks without times: a client, and from which block to which.
_UNTIMED = f"""
SELECT client_ext_id, known, size / {TILE} FROM (
    SELECT client_ext_id, size, (
        SELECT coalesce(max(number), -1) + 1 FROM ledger_times AS timed
        WHERE timed.client_ext_id = sizes.client_ext_id
    ) AS known FROM ledger_sizes AS sizes
) AS clients WHERE known < size / {TILE} ORDER BY client_ext_id
"""
_BLOCK_TIMES = f"""
SELECT client_ext_id, (position - 1) / {TILE} AS number, min(occurred) AS earliest, max(occurred) AS latest
FROM ledger WHERE client_ext_id = ? AND position > {{begin}} AND position <= {{end}}
GROUP BY client_ext_id, (position - 1) / {TILE} HAVING count(*) = {TILE}
"""
_KEEP_TIMES = (
    "INSERT INTO ledger_times (client_ext_id, number, earliest, latest)"
    f" {_BLOCK_TIMES.format(begin='?', end='?')} ON CONFLICT (client_ext_id, number) DO NOTHING"
)
# The runs of consecutive blocks that overlap a period, and the entries after the last block. One statement, so that no
# block is stored between the two.
_TIMED_RUNS = """
SELECT min(number), max(number) FROM (
    SELECT number, number - row_number() OVER (ORDER BY number) AS run FROM ledger_times
    WHERE client_ext_id = ? AND number >= ? AND latest >= ? AND earliest < ?
) AS overlapping GROUP BY run
UNION ALL SELECT coalesce(max(number), -1) + 1, NULL FROM ledger_times WHERE client_ext_id = ?
ORDER BY 1
"""
_DIFFERING_TIMES = f"""
SELECT timed.number FROM ledger_times AS timed
LEFT JOIN ({_BLOCK_TIMES.format(begin="0", end=_NO_END)}) AS found ON found.number = timed.number
LEFT JOIN ledger_times AS former
    ON former.client_ext_id = timed.client_ext_id AND former.number = timed.number - 1
WHERE timed.client_ext_id = ? AND timed.number >= 0 AND (
    coalesce(found.earliest, '') <> timed.earliest OR coalesce(found.latest, '') <> timed.latest
    OR (timed.number > 0 AND former.number IS NULL)
) ORDER BY timed.number
"""
# One index lookup per client, independent of the length of its ledger.
_CLIENTS = """
WITH RECURSIVE client (name) AS (
    SELECT min(client_ext_id) FROM {table} UNION ALL
    SELECT (SELECT min(client_ext_id) FROM {table} WHERE client_ext_id > name) FROM client WHERE name IS NOT NULL
)
SELECT name FROM client WHERE name IS NOT NULL
"""
# Each step looks up the next position of each filter in its index, from that of the former filter on; if all are equal, the
# entry matches. The cost depends on how often the filters alternate, not on the number of their entries. The order chooses
# the index: for several conditions together, SQLite chooses one that can have to read every entry.
_SEEK = """(
    SELECT CASE WHEN {column} = ? THEN position END FROM ledger
    WHERE client_ext_id = ? AND ({column}, position) >= (?, coalesce({place}, 4611686018427387904))
    ORDER BY {column}, position LIMIT 1
)"""
_POSITIONS = """
WITH RECURSIVE hop (first, found) AS (SELECT CAST(? AS bigint), CAST(? AS bigint)
    UNION ALL SELECT {first}, {last} FROM hop WHERE found <= ?
)
SELECT first FROM hop WHERE first = found AND first > ? AND first <= ? LIMIT ?
"""
_topic_of_event = itemgetter(11)  # in a row of _ENTRY_OR_GAP
# A client without a cut had no ledger at the start of the era.
_ERAS = """
SELECT name, coalesce(size, 0), began FROM eras
LEFT JOIN era_cuts ON era_cuts.client_ext_id = ? AND era_cuts.number = eras.number ORDER BY eras.number
"""
_KEEP_TILE = "INSERT INTO ledger_tiles (client_ext_id, number, hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
# One index lookup per target, independent of the number of checkpoints.
_SPREAD_SIZES = """
WITH RECURSIVE target (size) AS (
    SELECT CAST(? AS bigint) UNION ALL
    SELECT size + CAST(? AS bigint) FROM target WHERE size + CAST(? AS bigint) < CAST(? AS bigint)
)
SELECT (
    SELECT max(found.size) FROM checkpoints AS found WHERE found.client_ext_id = ? AND found.size <= target.size
) FROM target
"""
_CHECKPOINT = "SELECT client_ext_id, size, root, note, made FROM checkpoints"


class SqlLedger(SqlDerivedRows):
    """Implements the port Ledger; the port documents the methods."""

    # Conditions of a row of `ledger`, and of `ticket_events`. Where a store accepts values of any type, the check and the
    # history treat another row as missing.
    _is_readable = ""
    _is_event = ""
    # Whether a search looks up positions by _POSITIONS. PostgreSQL knows the distribution of values, and intersects indexes.
    _seeks = False

    def sizes(self) -> Sequence[tuple[str, int]]:
        """Return the ledger size of every client with a ledger."""
        rows = self._fetch("SELECT client_ext_id, size FROM ledger_sizes ORDER BY client_ext_id", ())
        return [(client, size) for client, size in rows]

    def clients(self) -> Sequence[str]:
        """Return every client with a size, an entry or a checkpoint, sorted."""
        tables = ("ledger_sizes", "ledger", "checkpoints")
        return sorted(
            {
                client
                for table in tables
                for (client,) in self._fetch(_CLIENTS.format(table=table), ())
                if isinstance(client, str)
            }
        )

    def size(self, client_ext_id: str) -> int:
        """Return the position of the newest entry; 0 for an empty ledger."""
        rows = self._fetch("SELECT size FROM ledger_sizes WHERE client_ext_id = ?", (client_ext_id,))
        return int(rows[0][0]) if rows else 0

    def sizes_of(self, client_ext_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the ledger sizes of those of these clients that have a ledger."""
        sizes: dict[str, int] = {}
        for chunk in chunks(client_ext_ids):
            marks = ",".join("?" * len(chunk))
            statement = f"SELECT client_ext_id, size FROM ledger_sizes WHERE client_ext_id IN ({marks})"
            sizes.update((client, size) for client, size in self._fetch(statement, chunk))
        return sizes

    def eras(self, client_ext_id: str) -> Eras:
        """Return the eras of a client's ledger: the time of each restore, and the position that it restored."""
        return Eras([Era(*row) for row in map(tuple, self._fetch(_ERAS, (client_ext_id,)))])

    def era_rows(self) -> Sequence[tuple[EraRow, str]]:
        """Return each era after the first one by number, with the digest of its cuts."""
        return era_rows(self._fetch)

    def leaves(self, client_ext_id: str, begin: int, end: int) -> Sequence[bytes]:
        """Return the hashes of the leaves from index `begin` (from 0) up to, but excluding, `end`."""
        rows = self._fetch(
            f"SELECT leaf FROM ledger WHERE client_ext_id = ? {self._is_readable} AND position > ? AND position <= ?"
            " ORDER BY position",
            (client_ext_id, begin, end),
        )
        return [bytes(leaf) for (leaf,) in rows]

    def tiles(self, client_ext_id: str, begin: int, end: int) -> Sequence[bytes]:
        """Return the stored hashes of the full tiles of these numbers, up to the first gap."""
        kept = self.numbered_tiles(client_ext_id, begin, end)
        return [tile for index, (number, tile) in enumerate(kept) if number == begin + index]

    def numbered_tiles(self, client_ext_id: str, begin: int, end: int) -> Sequence[tuple[int, bytes]]:
        """Return the stored hashes of the full tiles of these numbers, each with its number."""
        rows = self._fetch(
            "SELECT number, hash FROM ledger_tiles WHERE client_ext_id = ? AND number >= ? AND number < ?"
            " ORDER BY number",
            (client_ext_id, begin, end),
        )
        return [(number, bytes(tile)) for number, tile in rows]

    def save_tiles(self, client_ext_id: str, begin: int, hashes: Sequence[bytes]) -> None:
        """Store the hashes of full tiles from this number on; existing hashes are not replaced."""
        rows = [(client_ext_id, begin + index, tile) for index, tile in enumerate(hashes)]
        self._run(_KEEP_TILE, rows)

    def entries(self, client_ext_id: str, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries by position."""
        condition = "WHERE client_ext_id = ? AND position > ? ORDER BY position LIMIT ?"
        return self._entries(self._fetch(f"{_ENTRY} {condition}", (client_ext_id, after, limit)))

    def entries_of_topics(
        self, client_ext_id: str, topics: Sequence[str], after: int, limit: int
    ) -> Sequence[LedgerEntry]:
        """Return the next entries of these topics by position."""
        if not topics:
            return []
        # An index range per topic, so that rare topics are found as fast as frequent ones.
        of_one = (
            "SELECT * FROM (SELECT position FROM ledger WHERE client_ext_id = ? AND topic = ? AND position > ?"
            " ORDER BY position LIMIT ?) AS of_one"
        )
        found = f"{' UNION ALL '.join([of_one] * len(topics))} ORDER BY position LIMIT ?"
        ranges = [value for topic in topics for value in (client_ext_id, topic, after, limit)]
        condition = f"WHERE client_ext_id = ? AND position IN ({found}) ORDER BY position"
        return self._entries(self._fetch(f"{_ENTRY} {condition}", (client_ext_id, *ranges, limit)))

    def newest_of_topics(self, client_ext_id: str, topics: Sequence[str], end: int) -> int:
        """Return the newest position of these topics, up to and including `end`; 0 without one."""
        statement = "SELECT max(position) FROM ledger WHERE client_ext_id = ? AND topic = ? AND position <= ?"
        found = [self._fetch(statement, (client_ext_id, topic, end))[0][0] for topic in topics]
        return max((position or 0 for position in found), default=0)

    def entries_of(self, subject: Subject, stream: UUID, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next entries of a stream by version; the state is empty if the event is missing."""
        condition = "AND stream = ? AND version > ? ORDER BY version LIMIT ?"
        return self._entries(self._entries_or_gaps(condition, (subject.client_ext_id, stream, after, limit)))

    def naming_entries(self, client_ext_id: str, streams: Sequence[UUID], end: int) -> Sequence[LedgerEntry]:
        """Return the first entry of each stream, and each further creation of a ticket, up to a position."""
        found: list[LedgerEntry] = []
        for part in chunks(streams):
            wanted = padded(part, NO_STREAM)
            statement = _NAMING.format(marks=",".join(["(?)"] * len(wanted)))
            found += self._entries(self._fetch(statement, 2 * (*wanted, client_ext_id, end)))
        return found

    def entries_by_stream(
        self, client_ext_id: str, stream: UUID, version: int, end: UUID, limit: int
    ) -> Sequence[tuple[LedgerEntry, str]]:
        """Return the next entries by stream and version, up to a stream, each with the topic of its event."""
        condition = "AND (stream, version) > (?, ?) AND stream <= ? ORDER BY stream, version LIMIT ?"
        rows = self._entries_or_gaps(condition, (client_ext_id, stream, version, end, limit))
        return list(zip(self._entries(rows), map(_topic_of_event, rows), strict=True))

    def _entries_or_gaps(self, condition: str, parameters: Sequence[Any]) -> Sequence[Any]:
        joined = _ENTRY_OR_GAP.format(is_event=self._is_event, is_readable=self._is_readable)
        return self._fetch(f"{joined} {condition}", parameters)

    def positions(self, client_ext_id: str, after: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return the next positions with their leaf hashes."""
        rows = self._fetch(
            f"SELECT position, leaf FROM ledger WHERE client_ext_id = ? {self._is_readable} AND position > ?"
            " ORDER BY position LIMIT ?",
            (client_ext_id, after, limit),
        )
        return [(position, bytes(leaf)) for position, leaf in rows]

    def mistyped_values(self) -> Sequence[str]:
        """Return stored values with a type other than that of their column: none, since the database checks types."""
        return []

    def orphaned_rows(self) -> Sequence[str]:
        """Return a text for each event or row outside of the ledgers, and for each derived row without events."""
        [(events, entries)] = self._fetch(_COUNTS, ())
        orphaned_rows = []
        if events != entries:
            orphaned_rows += [
                f"stream {uuid_of(s)}, version {v}: the event is in no ledger"
                for s, v in self._fetch(_STRAYS, ())
            ]
        orphaned_rows += self.rows_without_events()
        orphaned_rows += self.unsealed_rows()
        for check in self._tables.checks():
            orphaned_rows += check(self._fetch)
        orphaned_rows += [
            f"client {client!r}: table {table} has {column} {number}, which is outside the ledger"
            for client, table, column, number in self._fetch(_OUTSIDE, ())
        ]
        return orphaned_rows

    def search(self, query: HistoryQuery, after: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next matching entries by position."""
        found: list[LedgerEntry] = []
        for begin, end in self._ranges(query, after):
            found += self._matching(query, begin, end, limit - len(found))
            if len(found) == limit:
                break
        return found

    def _ranges(self, query: HistoryQuery, after: int) -> Sequence[tuple[int, int]]:
        """Return the positions after `after` that may match by time: (from, to], in order."""
        if not (query.begin or query.end):
            return [(after, _NO_END)]
        begin = column_date(query.begin) if query.begin else _BEFORE_ALL_DATES
        end = column_date(query.end) if query.end else _AFTER_ALL_DATES
        client = query.client_ext_id
        runs = self._fetch(_TIMED_RUNS, (client, after // TILE, begin, end, client))
        return [
            (max(after, first * TILE), _NO_END if last is None else (last + 1) * TILE) for first, last in runs
        ]

    def _matching(self, query: HistoryQuery, begin: int, end: int, limit: int) -> Sequence[LedgerEntry]:
        """Return the next matching entries after `begin`, up to `end`."""
        client = query.client_ext_id
        filters = [
            (column, value)
            for column, value in (
                ("trace_id", query.trace_id),
                ("user_ext_id", query.user_ext_id),
                ("topic", query.topic),
                ("actor", query.actor),
            )
            if value is not None
        ]
        conditions = [
            (condition, column_date(moment))
            for condition, moment in (("occurred >= ?", query.begin), ("occurred < ?", query.end))
            if moment
        ]
        if not self._seeks:
            conditions += [(f"ledger.{column} = ?", value) for column, value in filters]
        found: list[LedgerEntry] = []
        while (wanted := limit - len(found)) > 0:
            place, places = "position > ? AND position <= ?", list[int]([begin, end])
            if filters and self._seeks:
                places = self._positions_of(client, filters, begin, end, wanted)
                if not places:
                    break
                place = f"position IN ({','.join('?' * len(places))})"
            condition = " AND ".join(["client_ext_id = ?", place, *(one for one, _ in conditions)])
            parameters = (client, *places, *(value for _, value in conditions), wanted)
            found += self._entries(
                self._fetch(f"{_ENTRY} WHERE {condition} ORDER BY position LIMIT ?", parameters)
            )
            if not (filters and self._seeks) or len(places) < wanted:
                break
            begin = places[-1]
        return found

    def _positions_of(
        self, client: str, filters: Sequence[tuple[str, str]], begin: int, end: int, limit: int
    ) -> list[int]:
        """Return the next positions after `begin`, up to `end`, that match every filter."""
        seeks, parameters = ["found + CASE WHEN first = found THEN 1 ELSE 0 END"], list[list[str]]([[]])
        for column, value in filters:
            seeks.append(_SEEK.format(column=column, place=seeks[-1]))
            parameters.append([value, client, value, *parameters[-1]])
        statement = _POSITIONS.format(first=seeks[1], last=seeks[-1])
        bounds = (begin, begin, *parameters[1], *parameters[-1], end, begin, end, limit)
        rows = self._fetch(statement, bounds)
        return [position for (position,) in rows]

    def keep_times(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Store the times of full blocks that are not stored yet, by which searches find a period."""
        for client, begin, end in self._fetch(_UNTIMED, ()):
            for first in range(begin, end, _BLOCKS_PER_STATEMENT):
                if stopped():
                    return
                last = min(first + _BLOCKS_PER_STATEMENT, end)
                self._run(_KEEP_TIMES, [(client, first * TILE, last * TILE)])

    def rebuild_times(self) -> None:
        """Derive the times of every full block from the ledger again."""
        self._run("DELETE FROM ledger_times", [()])
        self.keep_times()

    def differing_times(self, client_ext_id: str) -> Sequence[int]:
        """Return the numbers of the blocks whose stored times differ from the ledger, or that follow a gap."""
        rows = self._fetch(_DIFFERING_TIMES, (client_ext_id, client_ext_id))
        return [number for (number,) in rows]

    def newest_of_user(self, subject: Subject, topics: Sequence[str], limit: int) -> Sequence[LedgerEntry]:
        """Return the newest entries of these topics that concern a user, newest first."""
        statement = _NEWEST_OF_USER.format(marks=",".join("?" * len(topics)))
        return self._entries(self._fetch(statement, (*subject, *topics, limit)))

    def newest_time(self) -> datetime | None:
        """Return the newest of the times of the last entries of all clients; None: all ledgers are empty."""
        [(newest,)] = self._fetch(_NEWEST_TIME, ())
        return datetime.fromisoformat(newest) if newest else None

    def missing_answers(self, client_ext_id: str, command_ids: Sequence[str]) -> Sequence[str]:
        """Return those of these commands that have no stored answer."""
        found: set[str] = set()
        for chunk in chunks(command_ids):
            marks = ",".join("?" * len(chunk))
            statement = f"SELECT command_id FROM answers WHERE client_ext_id = ? AND command_id IN ({marks})"
            found.update(command_id for (command_id,) in self._fetch(statement, (client_ext_id, *chunk)))
        return [command_id for command_id in command_ids if command_id not in found]

    def version_of(self, client_ext_id: str, stream: UUID) -> int:
        """Return the newest version of a stream; 0: it has no entry."""
        statement = "SELECT max(version) FROM ledger WHERE client_ext_id = ? AND stream = ?"
        return self._fetch(statement, (client_ext_id, stream))[0][0] or 0

    def heads(self, client_ext_id: str, after: int, size: int) -> Sequence[tuple[UUID, int]]:
        """Return the newest version of every stream with an entry in a range of positions, by stream."""
        entries = "FROM ledger WHERE client_ext_id = ? AND position > ? AND position <= ?"
        if after:
            # With GROUP BY, SQLite reads every entry of the client by stream, also for a few new ones.
            found = self._fetch(
                f"SELECT stream, version {entries} ORDER BY position", (client_ext_id, after, size)
            )
            rows: Iterable[Any] = sorted(dict(found).items())
        else:
            grouped = f"SELECT stream, max(version) {entries} GROUP BY stream ORDER BY stream"
            rows = self._fetch(grouped, (client_ext_id, after, size))
        return [(uuid_of(stream), version) for stream, version in rows]

    def checkpoints(self, client_ext_id: str, after: int, limit: int) -> Sequence[Checkpoint]:
        """Return the next checkpoints by size."""
        condition = "WHERE client_ext_id = ? AND size > ? ORDER BY size LIMIT ?"
        return to_checkpoints(self._fetch(f"{_CHECKPOINT} {condition}", (client_ext_id, after, limit)))

    def checkpoint_sizes(self, client_ext_id: str, limit: int) -> Sequence[int]:
        """Return the sizes of at most `limit` checkpoints: of all, or the oldest, the newest, and some between."""
        listed = "SELECT size FROM checkpoints WHERE client_ext_id = ? ORDER BY size {} LIMIT ?"
        newest = [size for (size,) in self._fetch(listed.format("DESC"), (client_ext_id, limit + 1))]
        if len(newest) <= limit:
            return newest[::-1]
        newest = newest[: limit // 2]
        count = limit // 4
        oldest = [size for (size,) in self._fetch(listed.format("ASC"), (client_ext_id, count))]
        # At most `count` targets: the step is rounded up.
        begin, end = oldest[-1], newest[-1]
        step = -(-(end - begin) // count)
        targets = (begin, step, step, end, client_ext_id)
        spread = [size for (size,) in self._fetch(_SPREAD_SIZES, targets)]
        return sorted({*oldest, *spread, *newest})

    def newest_checkpoint(self, client_ext_id: str) -> Checkpoint | None:
        """Return the checkpoint of the largest size."""
        condition = "WHERE client_ext_id = ? ORDER BY size DESC LIMIT 1"
        return next(iter(to_checkpoints(self._fetch(f"{_CHECKPOINT} {condition}", (client_ext_id,)))), None)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint, replacing one of the same size."""
        self._run(
            "INSERT INTO checkpoints (client_ext_id, size, root, note, made, sent) VALUES (?, ?, ?, ?, ?, 0)"
            " ON CONFLICT (client_ext_id, size) DO UPDATE SET root = excluded.root, note = excluded.note, made = excluded.made, sent = 0",
            [checkpoint_columns(checkpoint)],
        )

    def unsent_checkpoints(self, after: tuple[str, int] | None, limit: int) -> Sequence[Checkpoint]:
        """Return the next checkpoints, by client and size, that must still be sent to the witnesses."""
        condition = "WHERE sent = 0 AND (client_ext_id, size) > (?, ?) ORDER BY client_ext_id, size LIMIT ?"
        return to_checkpoints(self._fetch(f"{_CHECKPOINT} {condition}", (*(after or ("", 0)), limit)))

    def unsent_since(self) -> datetime | None:
        """Return the creation time of the oldest of them, or None."""
        [(made,)] = self._fetch("SELECT min(made) FROM checkpoints WHERE sent = 0", ())
        return datetime.fromisoformat(made) if made else None

    def mark_sent(self, checkpoint: Checkpoint) -> None:
        """Record that a checkpoint was sent."""
        self._run(
            "UPDATE checkpoints SET sent = 1 WHERE client_ext_id = ? AND size = ? AND note = ?",
            [(checkpoint.client_ext_id, checkpoint.size, checkpoint.note)],
        )


def checkpoint_columns(checkpoint: Checkpoint) -> Row:
    """Return a checkpoint as the columns of its table, except `sent`."""
    made = column_date(checkpoint.made)
    return checkpoint.client_ext_id, checkpoint.size, checkpoint.root, checkpoint.note, made


def to_checkpoints(rows: Sequence[Any]) -> list[Checkpoint]:
    """Return the checkpoints of these columns. Raises LedgerBroken."""
    return [
        Checkpoint(client, size, bytes(root), note, _made(made)) for client, size, root, note, made in rows
    ]


def _made(text: str) -> datetime:
    try:
        return parse_column_date(text)
    except ValueError:
        raise LedgerBroken(f"invalid checkpoint: {text!r} is not a time in UTC") from None
