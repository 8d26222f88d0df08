-- Bulk jobs: their state, their frozen users in pages, and the items that were processed.
CREATE TABLE bulk_jobs (
    client_ext_id TEXT NOT NULL,
    job TEXT NOT NULL,
    version INTEGER NOT NULL,
    row BLOB NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (client_ext_id, job)
);
CREATE INDEX bulk_jobs_by_status ON bulk_jobs (status);
CREATE TABLE bulk_users (
    client_ext_id TEXT NOT NULL,
    job TEXT NOT NULL,
    first INTEGER NOT NULL,
    users BLOB NOT NULL,
    PRIMARY KEY (client_ext_id, job, first)
);
CREATE TABLE bulk_items (
    client_ext_id TEXT NOT NULL,
    job TEXT NOT NULL,
    number INTEGER NOT NULL,
    user_ext_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    version INTEGER NOT NULL,
    processed TEXT NOT NULL,
    PRIMARY KEY (client_ext_id, job, number)
) WITHOUT ROWID;
CREATE INDEX bulk_items_by_outcome ON bulk_items (client_ext_id, job, outcome, number);
