"""The commands of docs/subscribers.md are run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from application.record.streams import EVENTS
from application.subscriptions.security_event import _CHANGES
from tests.support.command import install_tickets
from tests.support.server import NO_DELIVERY, ROOT, Server, serving

DOC = (ROOT / "docs" / "subscribers.md").read_text()
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)


def test_every_kind_of_object_is_listed() -> None:
    table = DOC.partition("| `aggregate` |")[2].partition("\n\n")[0]

    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(
        {event.AGGREGATE for event in EVENTS.values()}
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with user-123 of client-123, whose ticket was reset twice, and the commands beside it."""
    commands = tmp_path / "bin"
    install_tickets(commands)
    (commands / "python").symlink_to(sys.executable)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    url = f"sqlite:///{tmp_path}/var/tickets.db"
    with serving(tmp_path, url, **NO_DELIVERY, TICKETS_PUSH_PRIVATE_HOSTS="127.0.0.1") as server:
        user = "/client-123/users/user-123"
        server.client.put(user, json={"email": "user-123@example.com"}).raise_for_status()
        server.client.post(f"{user}/ticket").raise_for_status()
        for _ in range(2):
            server.client.post(f"{user}/ticket/reset").raise_for_status()
        yield server


def run(text: str, server: Server, receiver_port: int) -> subprocess.CompletedProcess[str]:
    directory = server.directory
    text = text.replace(":8000/", f":{server.port}/").replace(":8000 ", f":{server.port} ")
    return subprocess.run(
        ["bash", "-euc", text.replace("8999", str(receiver_port))],
        cwd=directory,
        env={
            "PATH": f"{directory}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TICKETS_DATABASE_URL": f"sqlite:///{directory}/var/tickets.db",
            "HOME": str(directory),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_each_command_succeeds_and_prints_the_text_below_it(server: Server, unused_port: int) -> None:
    last = ""
    for kind, text in BLOCKS:
        if kind == "text":
            for line in text.splitlines():
                assert line in last, text
            continue
        # The public URL has the default port, not that of the test.
        poll = f'"$(echo $POLL | sed s/:80[0]0/:{server.port}/)"'
        done = run(text.replace('"$POLL"', poll), server, unused_port)
        # `timeout` ends a subscriber, which would run until it is stopped.
        assert done.returncode in ((124,) if "timeout" in text else (0,)), (text, done)
        last = done.stdout
        if "after=0" in text:
            assert [event["id"] for event in json.loads(last)] == ["1", "2"]
            assert json.loads(last)[1]["previous"] == "1"

    seen = [json.loads(line)["id"] for line in (server.directory / "seen.jsonl").read_text().splitlines()]
    assert seen == ["1", "2", "3", "4"]


def test_the_table_of_changes_is_the_code() -> None:
    documented = {
        name: (change, entity)
        for names, change, entity in re.findall(
            r"^\| (`Ticket.*?`) \| (.*?) \| `(\w+)` \|$", DOC, re.MULTILINE
        )
        for name in re.findall(r"`(\w+)`", names)
    }
    assert {name: entity for name, (_, entity) in documented.items()} == {
        name: entity for name, (_, entity, _) in _CHANGES.items()
    }
    assert all(f"`{_CHANGES[name][0]}`" in change for name, (change, _) in documented.items())
