-- Entries of a store without a ledger get their positions in the order of the log. The first event of a stream holds
-- its client, that of a credential also the user. store_changes assigns positions under the lock, so they are dense and
-- in the order of commits.
CREATE TABLE ledger (
    client_ext_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    stream uuid NOT NULL,
    version bigint NOT NULL,
    user_ext_id text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    occurred text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    trace_id text COLLATE "C" NOT NULL,
    leaf bytea NOT NULL,
    PRIMARY KEY (client_ext_id, position)
);
CREATE UNIQUE INDEX ledger_by_stream ON ledger (client_ext_id, stream, version);
CREATE INDEX ledger_by_user ON ledger (client_ext_id, user_ext_id, position);
CREATE INDEX ledger_by_actor ON ledger (client_ext_id, actor, position);
CREATE INDEX ledger_by_topic ON ledger (client_ext_id, topic, position);
CREATE INDEX ledger_by_trace ON ledger (client_ext_id, trace_id, position);
CREATE TABLE ledger_sizes (
    client_ext_id text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    PRIMARY KEY (client_ext_id)
);
CREATE TABLE ledger_tiles (
    client_ext_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (client_ext_id, number)
);
CREATE TABLE checkpoints (
    client_ext_id text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    note text COLLATE "C" NOT NULL,
    made text COLLATE "C" NOT NULL,
    sent bigint NOT NULL,
    PRIMARY KEY (client_ext_id, size)
);
CREATE FUNCTION ledger_framed(field bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT int4send(length(field)) || field $$;
CREATE FUNCTION ledger_leaf(client text, "position" bigint, stream uuid, version bigint, topic text, state bytea)
RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT sha256(
    '\x00'::bytea || ledger_framed('tickets-leaf-v1'::bytea) || ledger_framed(convert_to(client, 'UTF8'))
    || ledger_framed(int8send("position")) || ledger_framed(uuid_send(stream)) || ledger_framed(int8send(version))
    || ledger_framed(convert_to(topic, 'UTF8')) || ledger_framed(state)
) $$;
INSERT INTO ledger
SELECT client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id,
       ledger_leaf(client_ext_id, position, stream, version, topic, state)
FROM (
    SELECT first.json ->> 'client_ext_id' AS client_ext_id,
           row_number() OVER (PARTITION BY first.json ->> 'client_ext_id' ORDER BY event.notification_id) AS position,
           event.originator_id AS stream,
           event.originator_version AS version,
           coalesce(first.json ->> 'user_ext_id', '') AS user_ext_id,
           event.topic AS topic,
           to_char(
               (convert_from(event.state, 'UTF8')::json ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC',
               'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
           ) AS occurred,
           convert_from(event.state, 'UTF8')::json ->> 'actor' AS actor,
           substr(convert_from(event.state, 'UTF8')::json ->> 'correlation_id', 4, 32) AS trace_id,
           event.state AS state
    FROM ticket_events AS event
    JOIN (
        SELECT originator_id, convert_from(state, 'UTF8')::json AS json FROM ticket_events
        WHERE originator_version = 1
    ) AS first USING (originator_id)
) AS numbered;
INSERT INTO ledger_sizes SELECT client_ext_id, count(*) FROM ledger GROUP BY client_ext_id;
DROP FUNCTION store_changes;
CREATE FUNCTION store_changes(
    event_streams uuid[], event_versions bigint[], event_topics text[], event_states bytea[],
    ticket_clients text[], ticket_users text[], ticket_versions bigint[], ticket_rows bytea[],
    ticket_state_names text[], ticket_locked_untils text[], ticket_policies text[], ticket_valid_tos text[],
    ticket_last_modifieds text[], ticket_expiry_steps bigint[],
    outbox_clients text[], outbox_users text[], outbox_streams text[], outbox_versions bigint[],
    outbox_seals bytea[], outbox_minted text[],
    event_clients text[], event_users text[], event_times text[], event_actors text[], event_traces text[],
    answer_clients text[], answer_commands text[], answer_rows bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(event_streams) > 0 THEN
        LOCK TABLE ticket_events IN EXCLUSIVE MODE;
        NOTIFY ticket_events;
        INSERT INTO ticket_events (originator_id, originator_version, topic, state)
        SELECT * FROM unnest(event_streams, event_versions, event_topics, event_states);
        INSERT INTO ledger_sizes AS known (client_ext_id, size)
        SELECT client, count(*) FROM unnest(event_clients) AS changed (client) GROUP BY client ORDER BY client
        ON CONFLICT (client_ext_id) DO UPDATE SET size = known.size + excluded.size;
        INSERT INTO ledger (client_ext_id, position, stream, version, user_ext_id, topic, occurred, actor, trace_id,
                            leaf)
        SELECT client, place, stream, version, username, topic, occurred, actor, trace,
               ledger_leaf(client, place, stream, version, topic, state)
        FROM (
            SELECT event.*, size - count(*) OVER (PARTITION BY client)
                   + row_number() OVER (PARTITION BY client ORDER BY number) AS place
            FROM unnest(event_clients, event_users, event_streams, event_versions, event_topics, event_states,
                        event_times, event_actors, event_traces) WITH ORDINALITY
                 AS event (client, username, stream, version, topic, state, occurred, actor, trace, number)
            JOIN ledger_sizes ON client_ext_id = client
        ) AS numbered;
        INSERT INTO tickets (client_ext_id, user_ext_id, version, row, state_name, locked_until, policy_ext_id,
                             valid_to, last_modified, expiry_step)
        SELECT * FROM unnest(ticket_clients, ticket_users, ticket_versions, ticket_rows, ticket_state_names,
                             ticket_locked_untils, ticket_policies, ticket_valid_tos, ticket_last_modifieds,
                             ticket_expiry_steps)
        ON CONFLICT (client_ext_id, user_ext_id) DO UPDATE SET
            version = excluded.version, row = excluded.row, state_name = excluded.state_name,
            locked_until = excluded.locked_until, policy_ext_id = excluded.policy_ext_id,
            valid_to = excluded.valid_to, last_modified = excluded.last_modified,
            expiry_step = excluded.expiry_step;
        INSERT INTO outbox (client_ext_id, user_ext_id, stream, version, sealed, minted)
        SELECT * FROM unnest(outbox_clients, outbox_users, outbox_streams, outbox_versions, outbox_seals,
                             outbox_minted);
    END IF;
    INSERT INTO answers (client_ext_id, command_id, row)
    SELECT * FROM unnest(answer_clients, answer_commands, answer_rows);
END $$;
