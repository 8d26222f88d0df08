-- Entries of a store without a ledger get their positions in the order of the log. The first event of a stream holds
-- its client, that of a credential also the user. leaf() and column_date() are functions of the program.
CREATE TABLE ledger (
    client_ext_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    user_ext_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    occurred TEXT NOT NULL,
    actor TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    leaf BLOB NOT NULL,
    PRIMARY KEY (client_ext_id, position)
) WITHOUT ROWID;
CREATE UNIQUE INDEX ledger_by_stream ON ledger (client_ext_id, stream, version);
CREATE INDEX ledger_by_user ON ledger (client_ext_id, user_ext_id, position);
CREATE INDEX ledger_by_actor ON ledger (client_ext_id, actor, position);
CREATE INDEX ledger_by_topic ON ledger (client_ext_id, topic, position);
CREATE INDEX ledger_by_trace ON ledger (client_ext_id, trace_id, position);
CREATE TABLE ledger_sizes (
    client_ext_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (client_ext_id)
);
CREATE TABLE ledger_tiles (
    client_ext_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (client_ext_id, number)
);
CREATE TABLE checkpoints (
    client_ext_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note TEXT NOT NULL,
    made TEXT NOT NULL,
    sent INTEGER NOT NULL,
    PRIMARY KEY (client_ext_id, size)
);
INSERT INTO ledger
SELECT client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id,
       leaf(client_ext_id, position, stream, version, topic, state)
FROM (
    SELECT json_extract(CAST(first.state AS TEXT), '$.client_ext_id') AS client_ext_id,
           row_number() OVER (
               PARTITION BY json_extract(CAST(first.state AS TEXT), '$.client_ext_id') ORDER BY event.rowid
           ) AS position,
           event.originator_id AS stream,
           event.originator_version AS version,
           coalesce(json_extract(CAST(first.state AS TEXT), '$.user_ext_id'), '') AS user_ext_id,
           event.topic AS topic,
           column_date(json_extract(CAST(event.state AS TEXT), '$.timestamp')) AS occurred,
           json_extract(CAST(event.state AS TEXT), '$.actor') AS actor,
           substr(json_extract(CAST(event.state AS TEXT), '$.correlation_id'), 4, 32) AS trace_id,
           event.state AS state
    FROM ticket_events AS event
    JOIN ticket_events AS first ON first.originator_id = event.originator_id AND first.originator_version = 1
);
INSERT INTO ledger_sizes SELECT client_ext_id, count(*) FROM ledger GROUP BY client_ext_id;
