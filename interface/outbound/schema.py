"""The tables, as forward-only migrations: number n brings a store from version n-1 to n.

A released migration never changes. Every unique key of ours begins with the client, so that a store can be
distributed by client later.
"""

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

SQLITE = [_SQLITE_EVENTS + _TABLES.format(text="TEXT", integer="INTEGER", bytes="BLOB")]
POSTGRES = [_POSTGRES_EVENTS + _TABLES.format(text='text COLLATE "C"', integer="bigint", bytes="bytea")]

EVENTS_TABLE = "ticket_events"


def statements(migration: str) -> list[str]:
    """Return the single statements of a migration."""
    return [statement for statement in migration.split(";") if statement.strip()]


def steps(migrations: list[str], version: int) -> list[tuple[int, str]]:
    """Return the migrations that bring a store of this version up to date.

    Raises RuntimeError where the store is newer than this program.
    """
    if version > len(migrations):
        raise RuntimeError(
            f"the store has schema version {version}, this program knows {len(migrations)}: run a newer one"
        )
    return list(enumerate(migrations, start=1))[version:]
