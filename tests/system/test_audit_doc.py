"""The commands of docs/audit.md are run; over HTTP with the permission AccessControl.HistoryView alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import install_tickets
from tests.support.server import ROOT, Server, serving

DOC = (ROOT / "docs" / "audit.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server in whose store user-123 of client-123 was reset by anna, and the verifier beside it."""
    shutil.copy(ROOT / "interface" / "verify_evidence.py", tmp_path)
    commands = tmp_path / "bin"
    install_tickets(commands)
    (commands / "python").symlink_to(sys.executable)
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
        yield server


def environment(directory: Path) -> dict[str, str]:
    return {
        "PATH": f"{directory}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TICKETS_DATABASE_URL": f"sqlite:///{directory}/var/tickets.db",
        "COLUMNS": "120",
    }


def test_the_steps_of_the_auditor(server: Server) -> None:
    directory = server.directory
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
                ["sh", "-ec", text.replace(":8000/", f":{server.port}/")],
                cwd=directory,
                env=environment(directory),
                capture_output=True,
                text=True,
                check=False,
            )
        )

    (
        _,
        history,
        found,
        log,
        entries,
        reads,
        users,
        of_users,
        past,
        then,
        check,
        checkpoints,
        *_,
        verified,
        changed,
    ) = results
    assert [done.returncode for done in results] == [0] * (len(results) - 1) + [1], results
    [permission] = re.findall(r"--permission (\S+)", DOC)
    assert permission == "AccessControl.HistoryView"
    assert [item["actor"] for item in json.loads(found.stdout)["items"]] == ["helpdesk", "anna"]
    assert [item["actor"] for item in json.loads(entries.stdout)["items"]] == ["anna"]
    assert then.stdout == past.stdout.rstrip("\n")
    assert "items" in json.loads(checkpoints.stdout)  # the server signs while the steps run
    assert "by anna" in history.stdout
    assert "lost letter" in history.stdout
    assert [json.loads(line)["actor"] for line in log.stdout.splitlines()] == ["anna"]
    assert "tickets history" in reads.stdout
    assert [json.loads(line)["details"]["changed"] for line in users.stdout.splitlines()] == [["email"]]
    assert [item["type"] for item in json.loads(of_users.stdout)["items"]] == ["UserRegistered"]
    assert json.loads(past.stdout)["resetCount"] == 0
    assert "nothing differs" in check.stdout
    assert verified.stdout.startswith("VERIFIED")
    assert changed.stdout.startswith("NOT VERIFIED")
