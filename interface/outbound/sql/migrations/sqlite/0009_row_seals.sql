-- The seal of a row: a MAC under a key that the database does not contain (ADR 19). NULL: written by an earlier release.
ALTER TABLE tickets ADD COLUMN seal BLOB;
ALTER TABLE policies ADD COLUMN seal BLOB;
ALTER TABLE recipients ADD COLUMN seal BLOB;
-- The tables in which every row is sealed: no row without a valid seal is accepted.
CREATE TABLE row_seals (
    name TEXT NOT NULL,
    PRIMARY KEY (name)
);
