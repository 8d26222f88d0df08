"""The verifier is independent: the published vectors, on a machine without the service."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT

VECTORS = ROOT / "docs" / "evidence-vectors"
REPORTED: dict[str, str | None] = json.loads((VECTORS / "vectors.json").read_text())


def run(tmp_path: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Run the verifier from a directory where nothing of the service can be imported."""
    shutil.copy(ROOT / "interface" / "verify_evidence.py", tmp_path)
    command = [sys.executable, "-I", "verify_evidence.py", str(VECTORS / name), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", REPORTED)
def test_the_vectors_verify_or_are_refused_with_the_fault(tmp_path: Path, name: str) -> None:
    status, reported = run(tmp_path, name, "--key", str(VECTORS / "key.txt"))

    wrong = REPORTED[name]
    if wrong is None:
        assert (status, reported) == (
            0,
            "VERIFIED: all 3 events of user 'user-123' in client 'client-123', in a ledger of 7 entries\n",
        )
    else:
        assert status == 1
        assert reported.startswith("NOT VERIFIED: ")
        assert wrong in reported


def test_the_evidence_extends_the_older_checkpoint_and_no_other(tmp_path: Path) -> None:
    key = ["--key", (VECTORS / "key.txt").read_text().strip()]

    good = run(tmp_path, "good.zip", *key, "--checkpoint", str(VECTORS / "older.checkpoint"))
    other = run(tmp_path, "good.zip", *key, "--checkpoint", str(VECTORS / "other-history.checkpoint"))

    assert good[0] == 0
    assert "consistent with the older checkpoint" in good[1]
    assert other == (
        1,
        "NOT VERIFIED: the first 6 entries differ from those of the older checkpoint: the record was changed\n",
    )


@pytest.mark.parametrize(
    ("key", "reported"),
    [
        ("a+b+c", "not base64"),
        ("tickets+00000000+AQ==", "not an Ed25519 key"),
        ("no-such-file", "cannot read"),
    ],
)
def test_a_wrong_key_is_reported(tmp_path: Path, key: str, reported: str) -> None:
    status, output = run(tmp_path, "good.zip", "--key", key)

    assert status in (1, 2)
    assert reported in output


def test_the_verifier_shares_no_code_with_the_service() -> None:
    source = (ROOT / "interface" / "verify_evidence.py").read_text()
    lines = [line for line in source.splitlines() if line.startswith(("import ", "from "))]

    imported = {line.split()[1].split(".")[0] for line in lines}

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
