-- The earliest and the latest time of each block of 256 entries of a ledger, derived from it after the commit. The number of a
-- block is that of its tile.
CREATE TABLE ledger_times (
    client_ext_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    earliest text COLLATE "C" NOT NULL,
    latest text COLLATE "C" NOT NULL,
    PRIMARY KEY (client_ext_id, number)
);
-- Finds the extId of a ticket at any version. Only a creation adds to it.
CREATE INDEX ledger_by_creation ON ledger (client_ext_id, stream, version) WHERE topic = 'TicketCreated';
