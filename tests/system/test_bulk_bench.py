"""The bench of bulk jobs runs."""

from pathlib import Path

import pytest

from tests.bench import load
from tests.bench.bulk import bulk
from tests.bench.results import TINY, Results


def test_the_bench_measures_a_bulk_job_and_a_caller_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "WITH_WRK", False)
    results = Results()

    bulk("SQLite", TINY, results)

    assert [figures["jobs"] for figures in results.figures] == [0, 1]
    assert all(figures["answered"] and not figures["errors"] for figures in results.figures)
    assert len(results.targets) == 2
