"""A store without a ledger gets one by migration, byte-identical to one built from the start."""

from datetime import timedelta

from domain.policies.policy import SendingMethod
from tests.support.evidence import open_store
from tests.support.fakes import NOW, SUBJECT
from tests.support.service import service_over

_TABLES = (
    *("ledger", "ledger_sizes", "ledger_tiles", "ledger_times", "checkpoints", "subscriptions"),
    *("eras", "era_cuts", "details", "row_seals", "bulk_jobs", "bulk_users", "bulk_items"),
)
_OUTBOX_COLUMNS = ("terms", "so_far", "standing", "trying", "next_try", "leased_until", "lease")


def test_an_old_store_gets_its_ledger(database_url: str) -> None:
    store = open_store(database_url)
    with service_over(store) as service:
        service.define("letters")
        for client in ("client-1", "client-2"):
            subject = SUBJECT._replace(client_ext_id=client)
            service.register(subject=subject)
            service.create(subject=subject)
            service.regenerate(subject=subject, actor="ünïcode 'quoted'")
            service.delete(subject=subject)
            service.create(subject=subject)
    clients = [client for client, _ in store.sizes()]
    before = {client: store.entries(client, 0, 100) for client in clients}
    for table in _TABLES:
        store._run(f"DROP TABLE {table}", [()])
    for index in ("outbox_by_next_try", "outbox_by_user", "answers_by_user"):
        store._run(f"DROP INDEX {index}", [()])
    for column in _OUTBOX_COLUMNS:
        store._run(f"ALTER TABLE outbox DROP COLUMN {column}", [()])
    store._run("ALTER TABLE answers DROP COLUMN user_ext_id", [()])
    for table in ("tickets", "policies", "recipients"):
        store._run(f"ALTER TABLE {table} DROP COLUMN seal", [()])
    if database_url.startswith("sqlite:"):
        store._run("DROP TABLE schema_version", [()])
        store._run("PRAGMA user_version = 1", [()])
    else:
        for function in ("store_changes", "ledger_leaf", "ledger_framed"):
            store._run(f"DROP FUNCTION {function}", [()])
        store._run("ALTER TABLE schema_version DROP COLUMN usable_from", [()])
        store._run("DELETE FROM schema_version WHERE version > 1", [()])
    store.close()

    migrated = open_store(database_url)

    due = migrated.take("lease", NOW, NOW + timedelta(minutes=1), 10)
    assert len(due) == 6
    assert {found.entry.methods for found in due} == {(SendingMethod.EMAIL,)}
    assert {found.entry.minted for found in due} == {NOW}
    assert len(clients) == 3
    assert {client: migrated.entries(client, 0, 100) for client, _ in migrated.sizes()} == before
    assert migrated.orphaned_rows() == []
    migrated.close()
