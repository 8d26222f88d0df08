-- The programs that may use the schema: see StoredSchema.
ALTER TABLE schema_version ADD COLUMN usable_from bigint NOT NULL DEFAULT 0;
