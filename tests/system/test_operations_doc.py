"""The commands of docs/operations.md are run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.command import install_tickets
from tests.support.server import ROOT, serving

DOC = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)


def test_each_command_succeeds_and_prints_the_text_below_it(tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    install_tickets(commands)
    url = f"sqlite:///{tmp_path}/var/tickets.db"
    with serving(tmp_path, url) as server:
        user = "/client-123/users/user-123"
        server.client.put(user, json={"email": "user-123@example.com"}).raise_for_status()
        server.client.post(f"{user}/ticket").raise_for_status()
        environment = {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TICKETS_DATABASE_URL": url,
            "COLUMNS": "100",
        }
        printed = ""
        for kind, text in BLOCKS:
            if kind == "text":
                assert text.strip() in printed
                continue
            if "stop the service" in text:
                server.stop()
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text.replace(":8000/", f":{server.port}/")],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (text, done.stdout, done.stderr)
            printed = done.stdout
