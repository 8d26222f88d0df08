-- One row of eras per restore from a backup, and the size of each client's ledger at that time. Both tables stay small.
CREATE TABLE eras (
    number bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    began text COLLATE "C" NOT NULL,
    PRIMARY KEY (number)
);
CREATE TABLE era_cuts (
    client_ext_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    size bigint NOT NULL,
    PRIMARY KEY (client_ext_id, number)
);
