-- Tickets queued before this migration are due immediately, by mail. store_changes stores the delivery methods, too.
ALTER TABLE outbox ADD COLUMN terms text COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE outbox ADD COLUMN so_far bigint NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN standing text COLLATE "C" NOT NULL DEFAULT 'queued';
ALTER TABLE outbox ADD COLUMN trying text COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE outbox ADD COLUMN next_try text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN leased_until text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN lease text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX outbox_by_next_try ON outbox (next_try);
CREATE INDEX outbox_by_user ON outbox (client_ext_id, user_ext_id, version);
DROP FUNCTION store_changes;
CREATE FUNCTION store_changes(
    event_streams uuid[], event_versions bigint[], event_topics text[], event_states bytea[],
    ticket_clients text[], ticket_users text[], ticket_versions bigint[], ticket_rows bytea[],
    ticket_state_names text[], ticket_locked_untils text[], ticket_policies text[], ticket_valid_tos text[],
    ticket_last_modifieds text[], ticket_expiry_steps bigint[],
    outbox_clients text[], outbox_users text[], outbox_streams text[], outbox_versions bigint[],
    outbox_seals bytea[], outbox_minted text[], outbox_terms text[],
    event_clients text[], event_users text[], event_times text[], event_actors text[], event_traces text[],
    answer_clients text[], answer_commands text[], answer_rows bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(event_streams) > 0 THEN
        INSERT INTO ledger_sizes AS known (client_ext_id, size)
        SELECT client, count(*) FROM unnest(event_clients) AS changed (client) GROUP BY client ORDER BY client
        ON CONFLICT (client_ext_id) DO UPDATE SET size = known.size + excluded.size;
        NOTIFY ticket_events;
        INSERT INTO ticket_events (originator_id, originator_version, topic, state)
        SELECT * FROM unnest(event_streams, event_versions, event_topics, event_states);
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
        INSERT INTO outbox (client_ext_id, user_ext_id, stream, version, sealed, minted, terms)
        SELECT * FROM unnest(outbox_clients, outbox_users, outbox_streams, outbox_versions, outbox_seals,
                             outbox_minted, outbox_terms);
    END IF;
    INSERT INTO answers (client_ext_id, command_id, row)
    SELECT * FROM unnest(answer_clients, answer_commands, answer_rows);
END $$;
