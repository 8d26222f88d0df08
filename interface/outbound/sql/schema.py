"""The tables, as forward-only migrations: number n brings a store from version n-1 to n.

A released migration never changes, and one after release 1.0.0 only adds (ADR 12). Every unique key of ours begins
with the client, so that a store can be distributed by client later.
"""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple


def _statements(script: str) -> list[str]:
    return [statement for statement in script.split(";") if statement.strip()]


# Keys and ids are compared byte by byte on both stores.
_TABLES = """
CREATE TABLE tickets (
    client_ext_id {text} NOT NULL,
    user_ext_id {text} NOT NULL,
    version {integer} NOT NULL,
    row {bytes} NOT NULL,
    state_name {text} NOT NULL,
    locked_until {text} NOT NULL,
    policy_ext_id {text} NOT NULL,
    valid_to {text} NOT NULL,
    last_modified {text} NOT NULL,
    expiry_step {integer} NOT NULL,
    PRIMARY KEY (client_ext_id, user_ext_id)
);
CREATE INDEX tickets_by_state ON tickets (client_ext_id, state_name, user_ext_id);
CREATE INDEX tickets_by_policy ON tickets (client_ext_id, policy_ext_id, user_ext_id);
CREATE INDEX tickets_by_end ON tickets (client_ext_id, valid_to, user_ext_id);
CREATE INDEX tickets_by_change ON tickets (client_ext_id, last_modified, user_ext_id);
CREATE INDEX tickets_by_expiry ON tickets (expiry_step, valid_to, client_ext_id, user_ext_id);
CREATE TABLE recipients (
    client_ext_id {text} NOT NULL,
    user_ext_id {text} NOT NULL,
    version {integer} NOT NULL,
    row {bytes} NOT NULL,
    PRIMARY KEY (client_ext_id, user_ext_id)
);
CREATE TABLE policies (
    client_ext_id {text} NOT NULL,
    policy_ext_id {text} NOT NULL,
    version {integer} NOT NULL,
    row {bytes} NOT NULL,
    PRIMARY KEY (client_ext_id, policy_ext_id)
);
CREATE TABLE outbox (
    client_ext_id {text} NOT NULL,
    user_ext_id {text} NOT NULL,
    stream {text} NOT NULL,
    version {integer} NOT NULL,
    sealed {bytes} NOT NULL,
    minted {text} NOT NULL,
    PRIMARY KEY (client_ext_id, stream, version)
);
CREATE TABLE answers (
    client_ext_id {text} NOT NULL,
    command_id {text} NOT NULL,
    row {bytes} NOT NULL,
    PRIMARY KEY (client_ext_id, command_id)
)
"""

# The library's table, with ids that are never used twice (it has a plain rowid, which deletion frees).
_SQLITE_EVENTS = """
CREATE TABLE ticket_events (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (originator_id, originator_version)
);
"""

_POSTGRES_EVENTS = """
CREATE TABLE ticket_events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX ticket_events_notification_id_idx ON ticket_events (notification_id);
"""

# One round trip stores what a batch of commands has changed. The lock comes first: it makes the order of
# notification ids the order of commits, so a reader of the log that has seen id n has then seen every smaller
# one.
_POSTGRES_COMMIT = """
CREATE FUNCTION store_changes(
    event_streams uuid[], event_versions bigint[], event_topics text[], event_states bytea[],
    ticket_clients text[], ticket_users text[], ticket_versions bigint[], ticket_rows bytea[],
    ticket_state_names text[], ticket_locked_untils text[], ticket_policies text[], ticket_valid_tos text[],
    ticket_last_modifieds text[], ticket_expiry_steps bigint[],
    outbox_clients text[], outbox_users text[], outbox_streams text[], outbox_versions bigint[],
    outbox_seals bytea[], outbox_minted text[],
    answer_clients text[], answer_commands text[], answer_rows bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(event_streams) > 0 THEN
        LOCK TABLE ticket_events IN EXCLUSIVE MODE;
        NOTIFY ticket_events;
        INSERT INTO ticket_events (originator_id, originator_version, topic, state)
        SELECT * FROM unnest(event_streams, event_versions, event_topics, event_states);
        INSERT INTO tickets (client_ext_id, user_ext_id, version, row, state_name, locked_until, policy_ext_id,
                             valid_to, last_modified, expiry_step)
        SELECT * FROM unnest(ticket_clients, ticket_users, ticket_versions, ticket_rows, ticket_state_names,
                             ticket_locked_untils, ticket_policies, ticket_valid_tos, ticket_last_modifieds,
                             ticket_expiry_steps)
        ON CONFLICT (client_ext_id, user_ext_id) DO UPDATE SET
            version = excluded.version, row = excluded.row, state_name = excluded.state_name,
            locked_until = excluded.locked_until, policy_ext_id = excluded.policy_ext_id,
            valid_to = excluded.valid_to, last_modified = excluded.last_modified,
            expiry_step = excluded.expiry_step;
        INSERT INTO outbox (client_ext_id, user_ext_id, stream, version, sealed, minted)
        SELECT * FROM unnest(outbox_clients, outbox_users, outbox_streams, outbox_versions, outbox_seals,
                             outbox_minted);
    END IF;
    INSERT INTO answers (client_ext_id, command_id, row)
    SELECT * FROM unnest(answer_clients, answer_commands, answer_rows);
END $$
"""

_LEDGER = """
CREATE TABLE ledger (
    client_ext_id {text} NOT NULL,
    position {integer} NOT NULL,
    stream {uuid} NOT NULL,
    version {integer} NOT NULL,
    user_ext_id {text} NOT NULL,
    topic {text} NOT NULL,
    occurred {text} NOT NULL,
    actor {text} NOT NULL,
    trace_id {text} NOT NULL,
    leaf {bytes} NOT NULL,
    PRIMARY KEY (client_ext_id, position)
){without_rowid};
CREATE UNIQUE INDEX ledger_by_stream ON ledger (client_ext_id, stream, version);
CREATE INDEX ledger_by_user ON ledger (client_ext_id, user_ext_id, position);
CREATE INDEX ledger_by_actor ON ledger (client_ext_id, actor, position);
CREATE INDEX ledger_by_topic ON ledger (client_ext_id, topic, position);
CREATE INDEX ledger_by_trace ON ledger (client_ext_id, trace_id, position);
CREATE TABLE ledger_sizes (
    client_ext_id {text} NOT NULL,
    size {integer} NOT NULL,
    PRIMARY KEY (client_ext_id)
);
CREATE TABLE ledger_tiles (
    client_ext_id {text} NOT NULL,
    number {integer} NOT NULL,
    hash {bytes} NOT NULL,
    PRIMARY KEY (client_ext_id, number)
);
CREATE TABLE checkpoints (
    client_ext_id {text} NOT NULL,
    size {integer} NOT NULL,
    root {bytes} NOT NULL,
    note {text} NOT NULL,
    made {text} NOT NULL,
    sent {integer} NOT NULL,
    PRIMARY KEY (client_ext_id, size)
);
"""

_SUBSCRIPTIONS = """
CREATE TABLE subscriptions (
    client_ext_id {text} NOT NULL,
    name {text} NOT NULL,
    version {integer} NOT NULL,
    row {bytes} NOT NULL,
    sealed {bytes} NOT NULL,
    pushed {integer} NOT NULL,
    deleted {integer} NOT NULL,
    acknowledged {integer} NOT NULL,
    progress {bytes} NOT NULL,
    notice {text} NOT NULL,
    PRIMARY KEY (client_ext_id, name)
);
"""

# What was in the outbox before is due at once, by mail.
_OUTBOX = """
ALTER TABLE outbox ADD COLUMN terms {text} NOT NULL DEFAULT '{{}}';
ALTER TABLE outbox ADD COLUMN so_far {integer} NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN standing {text} NOT NULL DEFAULT 'queued';
ALTER TABLE outbox ADD COLUMN trying {text} NOT NULL DEFAULT '{{}}';
ALTER TABLE outbox ADD COLUMN next_try {text} NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN leased_until {text} NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN lease {text} NOT NULL DEFAULT '';
CREATE INDEX outbox_by_next_try ON outbox (next_try);
CREATE INDEX outbox_by_user ON outbox (client_ext_id, user_ext_id, version);
"""

# One row of eras per restore from a backup, and how far each client's ledger went then; few, and the same for all.
_ERAS = """
CREATE TABLE eras (
    number {integer} NOT NULL,
    name {text} NOT NULL,
    began {text} NOT NULL,
    PRIMARY KEY (number)
);
CREATE TABLE era_cuts (
    client_ext_id {text} NOT NULL,
    number {integer} NOT NULL,
    size {integer} NOT NULL,
    PRIMARY KEY (client_ext_id, number)
)
"""

# What was stored before there was a ledger gets its positions in the order of the log. The client of a stream
# stands in its first event, the user in that of a credential. leaf() and column_date() are functions of ours.
_BACKFILL_SQLITE = """
INSERT INTO ledger
SELECT client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id,
       leaf(client_ext_id, position, stream, version, topic, state)
FROM (
    SELECT json_extract(CAST(first.state AS TEXT), '$.client_ext_id') AS client_ext_id,
           row_number() OVER (
               PARTITION BY json_extract(CAST(first.state AS TEXT), '$.client_ext_id') ORDER BY event.rowid
           ) AS position,
           event.originator_id AS stream,
           event.originator_version AS version,
           coalesce(json_extract(CAST(first.state AS TEXT), '$.user_ext_id'), '') AS user_ext_id,
           event.topic AS topic,
           column_date(json_extract(CAST(event.state AS TEXT), '$.timestamp')) AS occurred,
           json_extract(CAST(event.state AS TEXT), '$.actor') AS actor,
           substr(json_extract(CAST(event.state AS TEXT), '$.correlation_id'), 4, 32) AS trace_id,
           event.state AS state
    FROM ticket_events AS event
    JOIN ticket_events AS first ON first.originator_id = event.originator_id AND first.originator_version = 1
);
INSERT INTO ledger_sizes SELECT client_ext_id, count(*) FROM ledger GROUP BY client_ext_id
"""

_LEAF_POSTGRES = (
    """
CREATE FUNCTION ledger_framed(field bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT int4send(length(field)) || field $$
""",
    """
CREATE FUNCTION ledger_leaf(client text, "position" bigint, stream uuid, version bigint, topic text, state bytea)
RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT sha256(
    '\\x00'::bytea || ledger_framed('tickets-leaf-v1'::bytea) || ledger_framed(convert_to(client, 'UTF8'))
    || ledger_framed(int8send("position")) || ledger_framed(uuid_send(stream)) || ledger_framed(int8send(version))
    || ledger_framed(convert_to(topic, 'UTF8')) || ledger_framed(state)
) $$
""",
)

_BACKFILL_POSTGRES = """
INSERT INTO ledger
SELECT client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id,
       ledger_leaf(client_ext_id, position, stream, version, topic, state)
FROM (
    SELECT first.json ->> 'client_ext_id' AS client_ext_id,
           row_number() OVER (PARTITION BY first.json ->> 'client_ext_id' ORDER BY event.notification_id) AS position,
           event.originator_id AS stream,
           event.originator_version AS version,
           coalesce(first.json ->> 'user_ext_id', '') AS user_ext_id,
           event.topic AS topic,
           to_char(
               (convert_from(event.state, 'UTF8')::json ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC',
               'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
           ) AS occurred,
           convert_from(event.state, 'UTF8')::json ->> 'actor' AS actor,
           substr(convert_from(event.state, 'UTF8')::json ->> 'correlation_id', 4, 32) AS trace_id,
           event.state AS state
    FROM ticket_events AS event
    JOIN (
        SELECT originator_id, convert_from(state, 'UTF8')::json AS json FROM ticket_events
        WHERE originator_version = 1
    ) AS first USING (originator_id)
) AS numbered;
INSERT INTO ledger_sizes SELECT client_ext_id, count(*) FROM ledger GROUP BY client_ext_id
"""

# As before, and the ledger. Positions are given out under the lock, so they are dense and in the order of commits.
_POSTGRES_COMMIT_WITH_LEDGER = _POSTGRES_COMMIT.replace(
    "    answer_clients text[]",
    "    event_clients text[], event_users text[], event_times text[], event_actors text[], event_traces text[],\n"
    "    answer_clients text[]",
).replace(
    "        INSERT INTO tickets (client",
    """\
        INSERT INTO ledger_sizes AS known (client_ext_id, size)
        SELECT client, count(*) FROM unnest(event_clients) AS changed (client) GROUP BY client ORDER BY client
        ON CONFLICT (client_ext_id) DO UPDATE SET size = known.size + excluded.size;
        INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id,
                            leaf)
        SELECT client, place, stream, version, username, topic, occurred, actor, trace,
               ledger_leaf(client, place, stream, version, topic, state)
        FROM (
            SELECT event.*, size - count(*) OVER (PARTITION BY client)
                   + row_number() OVER (PARTITION BY client ORDER BY number) AS place
            FROM unnest(event_clients, event_users, event_streams, event_versions, event_topics, event_states,
                        event_times, event_actors, event_traces) WITH ORDINALITY
                 AS event (client, username, stream, version, topic, state, occurred, actor, trace, number)
            JOIN ledger_sizes ON client_ext_id = client
        ) AS numbered;
        INSERT INTO tickets (client""",
)

# As before, but what is waited for is the client's row of ledger_sizes and not the whole table: who holds a
# transaction open holds up its own clients only. Until it ends nobody gets a later position of theirs, so no reader of a
# client's ledger passes over an event that commits late. The rows are taken first, and in order, so that two batches
# never wait for each other.
_GROW_LEDGERS = """\
        INSERT INTO ledger_sizes AS known (client_ext_id, size)
        SELECT client, count(*) FROM unnest(event_clients) AS changed (client) GROUP BY client ORDER BY client
        ON CONFLICT (client_ext_id) DO UPDATE SET size = known.size + excluded.size;
"""
_POSTGRES_COMMIT_BY_CLIENT = _POSTGRES_COMMIT_WITH_LEDGER.replace(_GROW_LEDGERS, "").replace(
    "        LOCK TABLE ticket_events IN EXCLUSIVE MODE;\n", _GROW_LEDGERS
)

# As before, and by which methods a ticket is sent.
_POSTGRES_COMMIT_WITH_TERMS = _POSTGRES_COMMIT_BY_CLIENT.replace(
    "outbox_seals bytea[], outbox_minted text[],",
    "outbox_seals bytea[], outbox_minted text[], outbox_terms text[],",
).replace(
    """\
        INSERT INTO outbox (client_ext_id, user_ext_id, stream, version, sealed, minted)
        SELECT * FROM unnest(outbox_clients, outbox_users, outbox_streams, outbox_versions, outbox_seals,
                             outbox_minted);
""",
    """\
        INSERT INTO outbox (client_ext_id, user_ext_id, stream, version, sealed, minted, terms)
        SELECT * FROM unnest(outbox_clients, outbox_users, outbox_streams, outbox_versions, outbox_seals,
                             outbox_minted, outbox_terms);
""",
)

# Which programs may use the schema; see StoredSchema. SQLite keeps the version itself in `PRAGMA user_version`, too.
_SCHEMA_VERSION_SQLITE = """
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    usable_from INTEGER NOT NULL,
    PRIMARY KEY (version)
)
"""
_SCHEMA_VERSION_POSTGRES = "ALTER TABLE schema_version ADD COLUMN usable_from bigint NOT NULL DEFAULT 0"

# Each migration is a list of statements.
_SQLITE_TYPES = {"text": "TEXT", "integer": "INTEGER", "bytes": "BLOB", "uuid": "TEXT"}
_POSTGRES_TYPES = {"text": 'text COLLATE "C"', "integer": "bigint", "bytes": "bytea", "uuid": "uuid"}
SQLITE = [
    _statements(_SQLITE_EVENTS + _TABLES.format(**_SQLITE_TYPES)),
    _statements(_LEDGER.format(**_SQLITE_TYPES, without_rowid=" WITHOUT ROWID") + _BACKFILL_SQLITE),
    _statements(_SUBSCRIPTIONS.format(**_SQLITE_TYPES)),
    _statements(_OUTBOX.format(**_SQLITE_TYPES)),
    _statements(_ERAS.format(**_SQLITE_TYPES)),
    _statements(_SCHEMA_VERSION_SQLITE),
]
POSTGRES = [
    _statements(_POSTGRES_EVENTS + _TABLES.format(**_POSTGRES_TYPES)),
    [_POSTGRES_COMMIT],
    [
        *_statements(_LEDGER.format(**_POSTGRES_TYPES, without_rowid="")),
        *_LEAF_POSTGRES,
        *_statements(_BACKFILL_POSTGRES),
        "DROP FUNCTION store_changes",
        _POSTGRES_COMMIT_WITH_LEDGER,
    ],
    ["DROP FUNCTION store_changes", _POSTGRES_COMMIT_BY_CLIENT],
    _statements(_SUBSCRIPTIONS.format(**_POSTGRES_TYPES)),
    [
        *_statements(_OUTBOX.format(**_POSTGRES_TYPES)),
        "DROP FUNCTION store_changes",
        _POSTGRES_COMMIT_WITH_TERMS,
    ],
    _statements(_ERAS.format(**_POSTGRES_TYPES)),
    [_SCHEMA_VERSION_POSTGRES],
]

EVENTS_TABLE = "ticket_events"
# The newest schema of each release, oldest first. Append a line when a release is made.
RELEASED_SQLITE = [6]
RELEASED_POSTGRES = [8]
_CHECK_INTERVAL_SECONDS = 1.0


class StoredSchema(NamedTuple):
    """The schema of a store.

    version: the number of its newest migration; 0 for an empty store.
    usable_from: the lowest schema version whose program may use the store.
    """

    version: int
    usable_from: int


class Migration(NamedTuple):
    """One step. usable_from: the lowest schema version whose program may use a store that has it (ADR 12)."""

    version: int
    statements: list[str]
    usable_from: int


def check_usable(stored: StoredSchema, newest: int) -> None:
    """Raise RuntimeError where a program whose newest schema is `newest` must not use the store."""
    if stored.version < newest:
        raise RuntimeError(
            f"the store has schema version {stored.version}, this program needs {newest}: run `tickets migrate`"
        )
    if stored.usable_from > newest:
        raise RuntimeError(
            f"the store has schema version {stored.version}, which needs a program with schema {stored.usable_from} or"
            f" later; this one has {newest}: upgrade the program"
        )


def fault(stored: StoredSchema, newest: int) -> str:
    """Return why such a program must not use the store; empty where it may."""
    try:
        check_usable(stored, newest)
    except RuntimeError as error:
        return str(error)
    return ""


def pending(migrations: list[list[str]], released: list[int], stored: StoredSchema) -> list[Migration]:
    """Return the migrations that bring a store up to date. Raises RuntimeError where its schema is too new."""
    if stored.version > len(migrations):
        check_usable(stored, len(migrations))
    return [
        Migration(version, statements, _usable_from(version, released))
        for version, statements in enumerate(migrations, start=1)
        if version > stored.version
    ]


def _usable_from(version: int, released: list[int]) -> int:
    """Return the newest schema of the release before the one that brought this version.

    Before the first release there was none: such a schema is usable by its own program only.
    """
    return max((schema for schema in released if schema < version), default=version)


class SchemaGuard:
    """Checks on use, at most once a second, that the store's schema still suits the program."""

    def __init__(self, newest: int) -> None:
        self._newest = newest
        self._checked_at = float("-inf")

    def check(self, read: Callable[[], StoredSchema]) -> None:
        """Raise RuntimeError where the schema that `read` returns is not usable."""
        now = monotonic()
        if now - self._checked_at >= _CHECK_INTERVAL_SECONDS:
            check_usable(read(), self._newest)
            self._checked_at = now
