"""The bench in short: it measures, and it counts what is stored."""

from pathlib import Path

import pytest

from tests.bench import load
from tests.bench.stage import staged


@pytest.mark.parametrize("store", ["SQLite", "PostgreSQL"])
def test_every_answered_reset_is_stored(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "WITH_WRK", False)

    with staged(store) as stage:
        figures = {
            name: stage.measure(name, 8, 0.5) for name in ("no-op", "unbatched", "reset", "verify", "get")
        }

    assert [figure["errors"] for figure in figures.values()] == [0] * 5
    assert all(figure["answered"] for figure in figures.values())
    for resets in (figures["unbatched"], figures["reset"]):
        assert resets["lost"] == 0
        assert resets["stored"] == resets["answered"]
    assert figures["reset"]["events_per_commit"] > 1
