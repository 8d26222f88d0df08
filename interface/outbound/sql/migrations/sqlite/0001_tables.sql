-- The table of the eventsourcing library, with ids that are never reused: a plain rowid is freed by a deletion.
CREATE TABLE ticket_events (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (originator_id, originator_version)
);
CREATE TABLE tickets (
    client_ext_id TEXT NOT NULL,
    user_ext_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    row BLOB NOT NULL,
    state_name TEXT NOT NULL,
    locked_until TEXT NOT NULL,
    policy_ext_id TEXT NOT NULL,
    valid_to TEXT NOT NULL,
    last_modified TEXT NOT NULL,
    expiry_step INTEGER NOT NULL,
    PRIMARY KEY (client_ext_id, user_ext_id)
);
CREATE INDEX tickets_by_state ON tickets (client_ext_id, state_name, user_ext_id);
CREATE INDEX tickets_by_policy ON tickets (client_ext_id, policy_ext_id, user_ext_id);
CREATE INDEX tickets_by_end ON tickets (client_ext_id, valid_to, user_ext_id);
CREATE INDEX tickets_by_change ON tickets (client_ext_id, last_modified, user_ext_id);
CREATE INDEX tickets_by_expiry ON tickets (expiry_step, valid_to, client_ext_id, user_ext_id);
CREATE TABLE recipients (
    client_ext_id TEXT NOT NULL,
    user_ext_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (client_ext_id, user_ext_id)
);
CREATE TABLE policies (
    client_ext_id TEXT NOT NULL,
    policy_ext_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (client_ext_id, policy_ext_id)
);
CREATE TABLE outbox (
    client_ext_id TEXT NOT NULL,
    user_ext_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    minted TEXT NOT NULL,
    PRIMARY KEY (client_ext_id, stream, version)
);
CREATE TABLE answers (
    client_ext_id TEXT NOT NULL,
    command_id TEXT NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (client_ext_id, command_id)
);
