"""The commands of docs/audit.md are run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import install_tickets
from tests.support.server import ROOT, serving

DOC = (ROOT / "docs" / "audit.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A store in which user-123 of client-123 was reset by anna, and the verifier beside it."""
    with serving(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db") as server:
        user = "/client-123/users/user-123"
        server.client.put(user, json={"email": "user-123@example.com"}).raise_for_status()
        server.client.post(f"{user}/ticket").raise_for_status()
        token = subprocess.run(
            [sys.executable, "-m", "interface.main", "token", "--sub", "anna", "--client", "*", "--all"],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        anna = {"Authorization": f"Bearer {token}"}
        reset = {"modificationComment": "lost letter"}
        server.client.post(f"{user}/ticket/reset", json=reset, headers=anna).raise_for_status()
    shutil.copy(ROOT / "interface" / "verify_evidence.py", tmp_path)
    commands = tmp_path / "bin"
    install_tickets(commands)
    (commands / "python").symlink_to(sys.executable)
    return tmp_path


def environment(directory: Path) -> dict[str, str]:
    return {
        "PATH": f"{directory}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TICKETS_DATABASE_URL": f"sqlite:///{directory}/var/tickets.db",
        "COLUMNS": "120",
    }


def test_the_steps_of_the_auditor(directory: Path) -> None:
    results: list[subprocess.CompletedProcess[str]] = []
    for kind, text in BLOCKS:
        if kind == "text":
            wanted = (
                re.escape(text.strip()).replace(r"\ N\ ", r"\ \d+\ ").replace("N\\ entries", r"\d+\ entries")
            )
            assert re.search(wanted, results[-1].stdout), results[-1]
            continue
        results.append(
            subprocess.run(
                ["sh", "-c", text],
                cwd=directory,
                env=environment(directory),
                capture_output=True,
                text=True,
                check=False,
            )
        )

    history, log, past, check, _, verified, changed = results
    assert [done.returncode for done in results] == [0, 0, 0, 0, 0, 0, 1], results
    assert "by anna" in history.stdout
    assert "lost letter" in history.stdout
    assert [json.loads(line)["actor"] for line in log.stdout.splitlines()] == ["anna"]
    assert json.loads(past.stdout)["resetCount"] == 0
    assert "nothing differs" in check.stdout
    assert verified.stdout.startswith("VERIFIED")
    assert changed.stdout.startswith("NOT VERIFIED")
