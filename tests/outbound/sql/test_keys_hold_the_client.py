"""Every unique key of the PostgreSQL tables contains the client, so that a store can be distributed by client later."""

from contextlib import closing

import psycopg

from interface.outbound.sql.postgres_store import PostgresStore

# The keys of the library's table, whose events get their client from the ledger, of the schema's version, of the restores from
# a backup, and of the tables with seals. docs/scale.md describes the changes that they would need.
WITHOUT_CLIENT = {
    "ticket_events_pkey",
    "ticket_events_notification_id_idx",
    "schema_version_pkey",
    "eras_pkey",
    "row_seals_pkey",
}
_KEYS = """
SELECT key.relname, array_agg(attname ORDER BY array_position(indkey, attnum))
FROM pg_index
JOIN pg_class AS key ON key.oid = indexrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
WHERE indisunique AND nspname = current_schema()
GROUP BY key.relname
"""
_FOREIGN_KEYS = (
    "SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
)


def test_every_unique_key_begins_with_the_client_with_listed_exceptions(postgres_url: str) -> None:
    with closing(PostgresStore(postgres_url)), psycopg.connect(postgres_url) as connection:
        keys: dict[str, list[str]] = dict(connection.execute(_KEYS).fetchall())
        foreign_keys = connection.execute(_FOREIGN_KEYS).fetchall()

    assert {name for name, columns in keys.items() if columns[0] != "client_ext_id"} == WITHOUT_CLIENT
    assert not foreign_keys
    assert len(keys) > len(WITHOUT_CLIENT)
