"""The commands of docs/migration.md are run, and the tickets of the page verify afterwards."""

import re
import subprocess
from pathlib import Path

from tests.support.command import install_tickets
from tests.support.server import ROOT, serving
from tests.system.test_audit_doc import environment

DOC = (ROOT / "docs" / "migration.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
TICKET = "K7mPq2RtVw9XyZbC4dFgH6jN"


def cells(text: str) -> list[list[str]]:
    """Return the rows of a printed table, without the blanks that its width requires."""
    return [line.split() for line in text.splitlines() if line.startswith("│")]


def test_every_command_runs_and_the_imported_ticket_verifies(tmp_path: Path) -> None:
    install_tickets(tmp_path / "bin")
    output = ""
    for kind, text in BLOCKS:
        if kind == "text":
            shown = cells(text)
            if shown:
                assert cells(output)[-len(shown) :] == shown
            else:
                assert text == output
            continue
        done = subprocess.run(
            ["sh", "-ec", text],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output = done.stdout
    with serving(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db") as server:
        for client in ("bank", "bank-copy"):
            verified = server.client.post(f"/{client}/users/anna/ticket/verify", json={"ticket": TICKET})
            assert verified.json()["verified"]
