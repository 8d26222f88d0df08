"""The rule of upgrades (ADR 12): from release 1.0.0 every migration only adds."""

import hashlib
import re
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from application.shared.errors import StoreUnavailable
from interface.outbound.sql import postgres_schema, schema
from interface.outbound.sql.postgres_store import PostgresStore
from interface.outbound.sql.schema import StoredSchema, check_usable, pending, split_statements
from tests.support.releases import RELEASES

# The changes that a migration may make to a store that the former release still uses. A unique index could reject the
# writes of that release, and it sets no value in a column that it does not know.
ADDS = re.compile(
    r"CREATE (TABLE|INDEX|FUNCTION) |ALTER TABLE \w+ ADD COLUMN (?=.*\bDEFAULT\b|(?!.*\bNOT NULL\b))|INSERT INTO ",
    re.DOTALL,
)
MIGRATIONS = ["one", "two", "three", "four", "five"]
SCRIPTS = Path(schema.__file__).with_name("migrations")
# Made by `sha256sum */*.sql` in SCRIPTS. Append the lines of the new migrations when a release is made.
RELEASED_SCRIPTS = Path(__file__).with_name("released_migrations.sha256").read_text().splitlines()


def migrations_after_1_0_0() -> list[str]:
    found: list[str] = []
    for migrations, released in (
        (schema.SQLITE, schema.RELEASED_SQLITE),
        (schema.POSTGRES, schema.RELEASED_POSTGRES),
    ):
        for statements in migrations[released[0] :] if released else []:
            found.extend(statement.strip() for statement in statements)
    return found


def test_a_migration_after_1_0_0_only_adds() -> None:
    assert [statement for statement in migrations_after_1_0_0() if not ADDS.match(statement)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE tickets ADD COLUMN note text NOT NULL",
        "ALTER TABLE tickets DROP COLUMN row",
        "ALTER TABLE tickets ALTER COLUMN row SET DEFAULT ''",
        "CREATE UNIQUE INDEX tickets_by_note ON tickets (note)",
        "CREATE OR REPLACE FUNCTION store_changes() RETURNS void LANGUAGE sql AS ''",
        "UPDATE tickets SET row = ''",
        "DROP TABLE tickets",
    ],
)
def test_a_statement_incompatible_with_the_former_release_is_rejected(statement: str) -> None:
    assert not ADDS.match(statement)


@pytest.mark.parametrize("column", ["note text", "note text NULL", "note text NOT NULL DEFAULT ''"])
def test_a_column_that_the_former_release_can_omit_is_accepted(column: str) -> None:
    assert ADDS.match(f"ALTER TABLE tickets ADD COLUMN {column}")


def test_a_released_migration_never_changes() -> None:
    released = {
        store: sorted((SCRIPTS / store).glob("*.sql"))[: max(versions)]
        for store, versions in (("postgres", schema.RELEASED_POSTGRES), ("sqlite", schema.RELEASED_SQLITE))
    }

    assert [
        f"{hashlib.sha256(script.read_bytes()).hexdigest()}  {store}/{script.name}"
        for store, scripts in released.items()
        for script in scripts
    ] == RELEASED_SCRIPTS


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_migrations_are_numbered_without_a_gap(store: str) -> None:
    numbers = [int(script.name.partition("_")[0]) for script in sorted((SCRIPTS / store).iterdir())]

    assert numbers == list(range(1, len(numbers) + 1))


def test_a_function_body_and_a_comment_may_contain_semicolons() -> None:
    script = "-- One; two.\nCREATE FUNCTION f() AS $$ SELECT 1; SELECT 2 $$;\nSELECT '$.a';\n"

    assert split_statements(script) == ["CREATE FUNCTION f() AS $$ SELECT 1; SELECT 2 $$", "SELECT '$.a'"]


def test_each_release_has_its_schema() -> None:
    assert len(schema.RELEASED_SQLITE) == len(schema.RELEASED_POSTGRES) == len(RELEASES)


def test_released_schemas_exist_and_increase() -> None:
    for migrations, released in (
        (schema.SQLITE, schema.RELEASED_SQLITE),
        (schema.POSTGRES, schema.RELEASED_POSTGRES),
    ):
        assert released == sorted(set(released))
        assert all(version <= len(migrations) for version in released)


def test_a_new_schema_is_usable_by_the_release_before_it() -> None:
    steps = pending([[name] for name in MIGRATIONS], [2, 4], StoredSchema(0, 0))

    assert [(step.version, step.usable_from) for step in steps] == [(1, 1), (2, 2), (3, 2), (4, 2), (5, 4)]


def test_only_the_missing_migrations_are_pending() -> None:
    steps = pending([[name] for name in MIGRATIONS], [2], StoredSchema(3, 2))

    assert [step.statements for step in steps] == [["four"], ["five"]]


def test_a_store_of_the_next_release_has_nothing_pending() -> None:
    assert pending([["one"], ["two"]], [2], StoredSchema(3, 2)) == []


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (StoredSchema(1, 1), "the store has schema version 1, this program needs 2: run `tickets migrate`"),
        (
            StoredSchema(4, 3),
            "the store has schema version 4, which needs a program with schema 3 or later; this one has 2: upgrade the program",
        ),
    ],
)
def test_a_schema_that_is_too_old_or_too_new_is_rejected(stored: StoredSchema, message: str) -> None:
    with pytest.raises(RuntimeError) as refusal:
        check_usable(stored, 2)

    assert str(refusal.value) == message


@pytest.mark.parametrize("stored", [StoredSchema(2, 1), StoredSchema(2, 2), StoredSchema(3, 2)])
def test_the_current_schema_and_that_of_the_next_release_are_usable(stored: StoredSchema) -> None:
    check_usable(stored, 2)


def test_a_migration_does_not_block_others_behind_a_long_transaction(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(PostgresStore(postgres_url)) as store:
        monkeypatch.setattr(postgres_schema, "_LOCK_TIMEOUT_SECONDS", 0.1)
        monkeypatch.setattr(
            schema, "POSTGRES", [*schema.POSTGRES, ["ALTER TABLE outbox ADD COLUMN extra text NULL"]]
        )
        monkeypatch.setattr(schema, "RELEASED_POSTGRES", [store.newest_schema])
        with psycopg.connect(postgres_url) as backup:
            backup.execute("SELECT 1 FROM outbox")

            with pytest.raises(StoreUnavailable, match="run `tickets migrate` again"):
                PostgresStore(postgres_url)

            assert store.schema_version() == store.newest_schema
            assert store.outbox_page(None, 1) == []

        PostgresStore(postgres_url).close()

        assert store.schema_version() == store.newest_schema + 1
