-- The free text of events. An event contains a commitment to it, so a row can be deleted without a change of the event.
CREATE TABLE details (
    client_ext_id text COLLATE "C" NOT NULL,
    user_ext_id text COLLATE "C" NOT NULL,
    stream uuid NOT NULL,
    version bigint NOT NULL,
    salt bytea NOT NULL,
    reason bytea NOT NULL,
    PRIMARY KEY (client_ext_id, stream, version)
);
CREATE INDEX details_by_user ON details (client_ext_id, user_ext_id);
-- The user of a command, whose erasure replaces the answers; NULL in rows of release 1.0.
ALTER TABLE answers ADD COLUMN user_ext_id text COLLATE "C";
CREATE INDEX answers_by_user ON answers (client_ext_id, user_ext_id);
