CREATE TABLE subscriptions (
    client_ext_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    row BLOB NOT NULL,
    sealed BLOB NOT NULL,
    pushed INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    progress BLOB NOT NULL,
    notice TEXT NOT NULL,
    PRIMARY KEY (client_ext_id, name)
);
