"""A SQLite store is in the file with its path, with any characters in the path."""

from contextlib import closing
from pathlib import Path

import pytest

from interface.outbound.sql.sqlite_store import SqliteStore, schema_version_at


@pytest.mark.parametrize("name", ["a?mode=ro.db", "a#b.db", "a%41.db", "ü b.db", "\udcff.db", "n\n.db"])
def test_a_path_with_characters_that_a_url_reserves_names_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with closing(SqliteStore(path)) as store:
        next(store.commits())

        assert store.sizes() == []
        assert schema_version_at(path) == store.schema_version() == SqliteStore.newest_schema
        assert not any(other.name in ("a", "aA.db") for other in tmp_path.iterdir())


def test_a_path_may_begin_with_two_slashes(tmp_path: Path) -> None:
    with closing(SqliteStore(Path(f"/{tmp_path}/a.db"))) as store:
        assert store.sizes() == []
    assert (tmp_path / "a.db").stat().st_size
