"""The comparison with privacyIDEA runs at a tiny size, and fails if an answer is no success."""

import json
from pathlib import Path

import pytest

from tests.bench import load, peer
from tests.bench.stage import staged

NOT_INSTALLED = pytest.mark.skipif(
    not peer.is_installed(),
    reason="privacyIDEA is not installed: `make bench-peer` installs it in var/bench/peer",
)


@pytest.fixture(autouse=True)
def _fresh_clone(tmp_path: Path, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, on one PostgreSQL server, with the load client of this repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_TEST_DATABASE_URL", postgres_server)
    monkeypatch.setattr(load, "WITH_WRK", False)


@pytest.mark.timeout(900)  # privacyIDEA starts slowly, and the first run installs it
@pytest.mark.parametrize(
    "store", [pytest.param("SQLite", marks=NOT_INSTALLED), pytest.param("PostgreSQL", marks=pytest.mark.slow)]
)
def test_every_operation_is_measured_on_both_services(store: str) -> None:
    results = peer.run(["--store", store], size=peer.TINY)

    assert {(one["service"], one["operation"]) for one in results.figures} == {
        ("this service", "reset"),
        ("this service", "verify"),
        ("privacyIDEA", "re-issue"),
        ("privacyIDEA", "validate"),
        ("privacyIDEA", "validate once"),
    }
    assert all(one["answered"] and one["cpu_us"] for one in results.figures)
    assert len(results.targets) == 2
    assert json.loads(peer.RESULT.read_text())["targets"] == results.targets


@NOT_INSTALLED
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_answer_that_is_no_success_ends_the_run() -> None:
    with staged("SQLite") as stage, peer.peers(stage, peer.TINY) as [privacyidea]:
        codes = privacyidea.enroll("registration", range(2))

        with pytest.raises(RuntimeError, match=r"0 errors, 2 successes"):  # each code is used up
            privacyidea.measure("validate once", peer.validations(codes), 1, 2)
