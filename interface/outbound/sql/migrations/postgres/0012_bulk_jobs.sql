-- Bulk jobs: their state, their frozen users in pages, and the items that were processed.
CREATE TABLE bulk_jobs (
    client_ext_id text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    row bytea NOT NULL,
    status text COLLATE "C" NOT NULL,
    PRIMARY KEY (client_ext_id, job)
);
CREATE INDEX bulk_jobs_by_status ON bulk_jobs (status);
CREATE TABLE bulk_users (
    client_ext_id text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    first bigint NOT NULL,
    users bytea NOT NULL,
    PRIMARY KEY (client_ext_id, job, first)
);
CREATE TABLE bulk_items (
    client_ext_id text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    user_ext_id text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    processed text COLLATE "C" NOT NULL,
    PRIMARY KEY (client_ext_id, job, number)
);
CREATE INDEX bulk_items_by_outcome ON bulk_items (client_ext_id, job, outcome, number);
