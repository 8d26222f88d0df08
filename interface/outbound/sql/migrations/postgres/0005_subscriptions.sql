CREATE TABLE subscriptions (
    client_ext_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    row bytea NOT NULL,
    sealed bytea NOT NULL,
    pushed bigint NOT NULL,
    deleted bigint NOT NULL,
    acknowledged bigint NOT NULL,
    progress bytea NOT NULL,
    notice text COLLATE "C" NOT NULL,
    PRIMARY KEY (client_ext_id, name)
);
