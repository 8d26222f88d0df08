"""The bench: every part runs at a tiny size, and every answered reset is stored."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.bench import load, scale, verify_timing
from tests.bench.run import LATEST, PARTS, run
from tests.bench.stage import STORES


@pytest.fixture(autouse=True)
def _fresh_clone(tmp_path: Path, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, on one PostgreSQL server, with the load client of this repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_TEST_DATABASE_URL", postgres_server)
    monkeypatch.setattr(load, "WITH_WRK", False)


@pytest.mark.parametrize(
    "store", [pytest.param(store, marks=pytest.mark.slow if store == "SQLite" else ()) for store in STORES]
)
def test_every_answered_reset_is_stored(store: str) -> None:
    figures = {one["operation"]: one for one in measured("side by side", store)["figures"]}

    assert all(one["answered"] for one in figures.values())
    for resets in (figures["unbatched"], figures["reset"]):
        assert resets["stored"] == resets["answered"]
    assert figures["reset"]["events_per_commit"] > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "store"), [(part, store) for part in PARTS if part != "side by side" for store in STORES]
)
def test_every_part_runs(part: str, store: str) -> None:
    if part == "slow disk" and not shutil.which("cc"):
        pytest.skip("no C compiler")

    found = measured(part, store)

    assert bool(found["figures"] + found["targets"]) == ((part, store) != ("workers", "SQLite"))


@pytest.mark.slow
def test_the_scale_of_one_event_log_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(scale.Size(seconds=0.1, rounds=1, batches=(2,), processes=(1,)))

    kinds = [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert kinds == [*["standby", "synchronous"] * 3, *["alone"] * 3]


def test_the_cost_of_every_refusal_is_measured() -> None:
    verify_timing.main(rounds=4)

    figures = json.loads(Path("var/bench/verify-timing.json").read_text())
    assert {algorithm: set(costs) for algorithm, costs in figures.items()} == {
        algorithm: set(verify_timing.REASONS) for algorithm in ("SSHA256", "ARGON2ID")
    }


def measured(part: str, store: str) -> dict[str, Any]:
    """Run one part at a tiny size, and return the report. Raises AssertionError if a response is wrong or lost."""
    run(["--tiny", "--part", part, "--store", store])
    report: dict[str, Any] = json.loads(LATEST.read_text())
    for figures in report["figures"]:
        assert figures.get("errors", 0) == 0, figures
        assert figures.get("lost", 0) == 0, figures
    return report
