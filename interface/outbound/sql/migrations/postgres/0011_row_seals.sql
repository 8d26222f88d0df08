-- The seal of a row: a MAC under a key that the database does not contain (ADR 19). NULL: written by an earlier release.
ALTER TABLE tickets ADD COLUMN seal bytea;
ALTER TABLE policies ADD COLUMN seal bytea;
ALTER TABLE recipients ADD COLUMN seal bytea;
-- The tables in which every row is sealed: no row without a valid seal is accepted.
CREATE TABLE row_seals (
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (name)
);
