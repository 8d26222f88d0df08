"""The bench: every part runs at a tiny size, every answered reset is stored, and the published figures are current."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bench import load, page, scale, stage, verify_timing
from tests.bench.load import Request
from tests.bench.results import LATEST, QUICK, TINY, Results, keep, key_of, revision
from tests.bench.results import measured as measured_parts
from tests.bench.run import PARTS, Part, run
from tests.bench.stage import STORES
from tests.support.server import ROOT


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
    part = measured("side by side", store)
    figures = {one["operation"]: one for one in part["figures"]}

    assert figures["reset"]["stored"] == figures["reset"]["answered"] > 0
    assert figures["reset"]["events_per_commit"] > 1
    assert figures["bare"]["cpu_us"] < figures["no-op"]["cpu_us"] < figures["reset"]["cpu_us"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "store"), [(part, store) for part in PARTS if part != "side by side" for store in STORES]
)
def test_every_part_runs(part: str, store: str) -> None:
    if part == "slow disk" and not shutil.which("cc"):
        pytest.skip("no C compiler")

    found = measured(part, store)

    assert found["figures"] + found["targets"]


def test_a_time_of_an_open_load_counts_from_the_planned_time(tmp_path: Path) -> None:
    with stage.bare_app() as bare:
        url, requests = f"http://127.0.0.1:{bare.port}", [Request("GET", "/")]

        figures = load.send(url, "token", requests, tmp_path, connections=2, seconds=0.5, rate=100)
        # One connection answers a part of this rate only, so that the requests wait, and their times grow.
        beyond = load.send(url, "token", requests, tmp_path, connections=1, seconds=0.1, rate=100_000)

    assert (figures.answered, figures.errors) == (50, 0)
    assert (beyond.answered, beyond.errors) == (10_000, 0)
    assert beyond.p99_ms > (beyond.seconds - 0.5) * 1000 * 0.9


def test_errors_and_lost_resets_end_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.staged("SQLite", credentials=10) as running:
        with monkeypatch.context() as patched:
            patched.setitem(stage.OPERATIONS, "reset", [Request("POST", "/unknown")])
            with pytest.raises(RuntimeError, match=r"SQLite: reset: (\d+) responses of \1 are errors"):
                running.measure("reset", 2, 0.1)
        monkeypatch.setitem(stage.OPERATIONS, "reset", stage.OPERATIONS["reset"][:10])
        monkeypatch.setattr(stage, "stored_resets", lambda _url: 0)
        with pytest.raises(RuntimeError, match=r"SQLite: \d+ resets were answered, 0 are stored"):
            running.measure("reset", 2, 0.1)


def test_a_failed_part_ends_the_bench_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the cause")

    monkeypatch.setitem(PARTS, "ledger", Part(measure=fail))

    with pytest.raises(SystemExit, match="FAILED: SQLite: ledger: the cause"):
        run(["--tiny", "--part", "ledger", "--store", "SQLite"])
    assert not LATEST.exists()


def test_a_missing_program_ends_the_bench_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--quick"])

    assert ended.value.code == 2
    assert "wrk is not on the PATH" in capsys.readouterr().err


def test_a_part_replaces_its_results_only() -> None:
    first, second, again = Results(), Results(), Results()
    first.target("SQLite: the first", 1, 2, at_most=True)
    second.target("SQLite: the second", [1, 3, 2], 2, at_most=False)
    again.target("SQLite: the first", 3, 2, at_most=True)
    keep(TINY, "ledger", "SQLite", first, began=0, seconds=1)
    keep(TINY, "audit", "SQLite", second, began=0, seconds=1)
    keep(TINY, "ledger", "SQLite", again, began=0, seconds=1)

    parts = json.loads(LATEST.read_text())["parts"]

    assert [(target["value"], target["met"]) for part in parts.values() for target in part["targets"]] == [
        (3, False),
        (2, True),
    ]


def test_a_resumed_run_skips_the_measured_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.bench.results.revision", lambda: "1" * 40)
    monkeypatch.setattr("tests.bench.run.revision", lambda: "1" * 40)
    keep(TINY, "ledger", "SQLite", Results(), began=0, seconds=1)

    run(["--tiny", "--resume", "--part", "ledger", "--store", "SQLite"])

    assert "SQLite: ledger is measured at 1111" in " ".join(capsys.readouterr().err.split())


def test_the_pages_show_the_medians_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.results.revision", lambda: "1" * 40)
    load_of = {"part": "side by side", "store": "SQLite", "operation": "reset", "connections": 64}
    rounds = [
        {"per_second": speed, "cpu_us": 330, "p50_ms": 20, "p99_ms": 31.4} for speed in (1500, 2500, 1700)
    ]
    results = Results([load_of | figures for figures in rounds])
    results.target("SQLite, 64 connections: reset / bare, CPU", [9, 8.5], 8, at_most=True)
    keep(QUICK, "side by side", "SQLite", results, began=0, seconds=1)
    parts = page.copied(measured_parts())

    def shown(block: str) -> list[str]:
        text = page.filled_in(f"<!-- bench: {block} -->\n<!-- bench: end -->", parts)
        return [line for line in text.splitlines() if line.startswith("| ")]

    assert shown("summary")[1] == "| reset | 1,700 per s, 330 µs of CPU each, p99 31.4 ms |  |"
    assert shown("many connections")[1] == "| reset | 1,700 (1,500-2,500) | 330 | 20 / 31.4 |  | |  |"
    assert shown("targets")[1] == "| 64 connections: reset / bare, CPU | **8.75 (8.5-9) missed** |  | ≤ 8 |"


def test_figures_of_uncommitted_code_are_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.results.revision", lambda: f"{'1' * 40}-changed")
    keep(QUICK, "ledger", "SQLite", Results(), began=0, seconds=1)

    with pytest.raises(ValueError, match=r"quick: ledger: SQLite was measured at 1+-changed: commit"):
        page.copied(measured_parts())


@pytest.mark.slow
def test_two_revisions_are_compared() -> None:
    if not re.match("[0-9a-f]{40}", revision()):
        pytest.skip("no git history")

    run(["--tiny", "--compare", "HEAD", "--store", "SQLite"])

    compared = json.loads(Path("var/bench/compare.json").read_text())
    assert (compared["old"], compared["new"]) == ("HEAD", revision())
    assert [one["operation"] for one in compared["ratios"]] == ["reset", "verify", "get"]
    assert all(one["cpu_us_ratio"][0] > 0 for one in compared["ratios"])


def test_the_pages_have_the_published_figures() -> None:
    parts = json.loads(page.COPY.read_text())

    for file in page.PAGES:
        assert file.read_text() == page.filled_in(file.read_text(), parts), f"run `make bench-page`: {file}"


def test_the_published_figures_are_not_older_than_the_code() -> None:
    shallow = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if shallow.stdout != "false\n":
        pytest.skip("no complete git history")

    for measured_at in {part["revision"] for part in json.loads(page.COPY.read_text()).values()}:
        assert page.is_current(measured_at), (
            f"run `make bench` and `make bench-page`: {measured_at} is too old"
        )


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
    """Run one part at a tiny size, and return its results."""
    run(["--tiny", "--part", part, "--store", store])
    found: dict[str, Any] = json.loads(LATEST.read_text())["parts"][key_of(TINY, part, store)]
    return found
