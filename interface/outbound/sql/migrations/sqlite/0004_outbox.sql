-- Tickets queued before this migration are due immediately, by mail.
ALTER TABLE outbox ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
ALTER TABLE outbox ADD COLUMN so_far INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN standing TEXT NOT NULL DEFAULT 'queued';
ALTER TABLE outbox ADD COLUMN trying TEXT NOT NULL DEFAULT '{}';
ALTER TABLE outbox ADD COLUMN next_try TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN leased_until TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN lease TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_by_next_try ON outbox (next_try);
CREATE INDEX outbox_by_user ON outbox (client_ext_id, user_ext_id, version);
