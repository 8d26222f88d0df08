"""The tables, as forward-only migrations: number n brings a store from version n-1 to n.

A released migration never changes. Every unique key of ours begins with the client, so that a store can be
distributed by client later.
"""


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
# one (design, decision 8).
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

# Each migration is a list of statements.
SQLITE = [_statements(_SQLITE_EVENTS + _TABLES.format(text="TEXT", integer="INTEGER", bytes="BLOB"))]
POSTGRES = [
    _statements(_POSTGRES_EVENTS + _TABLES.format(text='text COLLATE "C"', integer="bigint", bytes="bytea")),
    [_POSTGRES_COMMIT],
]

EVENTS_TABLE = "ticket_events"


def steps(migrations: list[list[str]], version: int) -> list[tuple[int, list[str]]]:
    """Return the migrations that bring a store of this version up to date, each with its number.

    Raises RuntimeError where the store is newer than this program.
    """
    if version > len(migrations):
        raise RuntimeError(
            f"the store has schema version {version}, this program knows {len(migrations)}: run a newer one"
        )
    return list(enumerate(migrations, start=1))[version:]
