-- One row of eras per restore from a backup, and the size of each client's ledger at that time. Both tables stay small.
CREATE TABLE eras (
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    began TEXT NOT NULL,
    PRIMARY KEY (number)
);
CREATE TABLE era_cuts (
    client_ext_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (client_ext_id, number)
);
