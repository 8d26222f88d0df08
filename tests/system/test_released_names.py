"""Names that others use do not change, or keep an alias for a major version (ADR 12, rule 6)."""

from pathlib import Path

import pytest

from tests.support import names

RELEASES = sorted(path.stem for path in names.DIRECTORY.glob("*.txt"))


@pytest.mark.parametrize("release", RELEASES)
def test_every_name_of_a_release_exists(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    released = set((names.DIRECTORY / f"{release}.txt").read_text().splitlines())

    assert sorted(released - set(names.current_names())) == []
