-- Keys and ids are compared byte by byte, hence COLLATE "C".
CREATE TABLE ticket_events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX ticket_events_notification_id_idx ON ticket_events (notification_id);
CREATE TABLE tickets (
    client_ext_id text COLLATE "C" NOT NULL,
    user_ext_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    row bytea NOT NULL,
    state_name text COLLATE "C" NOT NULL,
    locked_until text COLLATE "C" NOT NULL,
    policy_ext_id text COLLATE "C" NOT NULL,
    valid_to text COLLATE "C" NOT NULL,
    last_modified text COLLATE "C" NOT NULL,
    expiry_step bigint NOT NULL,
    PRIMARY KEY (client_ext_id, user_ext_id)
);
CREATE INDEX tickets_by_state ON tickets (client_ext_id, state_name, user_ext_id);
CREATE INDEX tickets_by_policy ON tickets (client_ext_id, policy_ext_id, user_ext_id);
CREATE INDEX tickets_by_end ON tickets (client_ext_id, valid_to, user_ext_id);
CREATE INDEX tickets_by_change ON tickets (client_ext_id, last_modified, user_ext_id);
CREATE INDEX tickets_by_expiry ON tickets (expiry_step, valid_to, client_ext_id, user_ext_id);
CREATE TABLE recipients (
    client_ext_id text COLLATE "C" NOT NULL,
    user_ext_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    row bytea NOT NULL,
    PRIMARY KEY (client_ext_id, user_ext_id)
);
CREATE TABLE policies (
    client_ext_id text COLLATE "C" NOT NULL,
    policy_ext_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    row bytea NOT NULL,
    PRIMARY KEY (client_ext_id, policy_ext_id)
);
CREATE TABLE outbox (
    client_ext_id text COLLATE "C" NOT NULL,
    user_ext_id text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    sealed bytea NOT NULL,
    minted text COLLATE "C" NOT NULL,
    PRIMARY KEY (client_ext_id, stream, version)
);
CREATE TABLE answers (
    client_ext_id text COLLATE "C" NOT NULL,
    command_id text COLLATE "C" NOT NULL,
    row bytea NOT NULL,
    PRIMARY KEY (client_ext_id, command_id)
);
