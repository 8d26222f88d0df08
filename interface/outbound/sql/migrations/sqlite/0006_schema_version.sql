-- The programs that may use the schema: see StoredSchema. `PRAGMA user_version` holds the version, too.
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    usable_from INTEGER NOT NULL,
    PRIMARY KEY (version)
);
