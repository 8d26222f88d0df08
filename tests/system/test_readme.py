"""The commands of the README and of the pages for users are run unchanged, and the settings are compared."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import external_file

from interface.settings import PREFIX, Settings
from tests.support.server import ROOT

PAGES = ("README.md", "docs/life-of-a-ticket.md", "docs/delivery.md")
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```(\w+)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
]
SETTINGS = ROOT / "docs" / "settings.md"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def block(language: str, holding: str) -> str:
    [found] = [text for kind, text in BLOCKS if kind == language and holding in text]
    return str(found)


def shell(script: str, directory: Path) -> str:
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_it_listens(port: int) -> None:
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise TimeoutError(port)


@contextmanager
def running_demo(directory: Path) -> Iterator[tuple[Path, int, str]]:
    """`make run` in a checkout whose environment is ready; yields the directory, the port and the output."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(ROOT / name, directory)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    port = free_port()
    server = subprocess.Popen(
        ["bash", "-c", f"exec {block('sh', 'make run').strip()} PORT={port} -o .venv/.ready"],
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert server.stdout
    printed = ""
    for line in server.stdout:
        printed += line
        if "/docs" in line:
            break
    shell(
        f"curl -s --retry 50 --retry-connrefused --retry-delay 0 --retry-max-time 20 127.0.0.1:{port}/openapi.json",
        directory,
    )
    yield directory, port, printed
    os.killpg(server.pid, signal.SIGINT)
    server.wait(20)
    server.stdout.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[Path, int, str]]:
    with running_demo(tmp_path) as running:
        yield running


def test_the_demo_prints_a_curl_line_that_resets_the_ticket(demo: tuple[Path, int, str]) -> None:
    directory, _, printed = demo
    [line] = [line for line in printed.splitlines() if line.startswith("curl")]

    answers = [shell(line, directory) for _ in range(2)]

    assert all(answer.startswith("HTTP/1.1 200 OK") for answer in answers)
    assert [json.loads(answer.splitlines()[-1])["resetCount"] for answer in answers] == [1, 2]
    shell(
        "for i in $(seq 200); do [ $(ls var/mail/*.eml | wc -l) = 3 ] && exit 0; sleep 0.05; done; exit 1",
        directory,
    )


def test_the_curl_example_returns_the_response_printed_below_it(demo: tuple[Path, int, str]) -> None:
    directory, port, _ = demo
    script = block("sh", "Idempotency-Key").replace(":8000/", f":{port}/")

    first, again = shell(script, directory), shell(script, directory)

    assert first == again
    assert _shape(json.loads(first)) == _shape(json.loads(block("json", "resetCount")))


def test_the_life_of_a_ticket_prints_the_text_of_the_page_also_when_pasted_twice(
    demo: tuple[Path, int, str],
) -> None:
    directory, port, _ = demo
    script = block("sh", "API=").replace(":8000/", f":{port}/")

    for _ in range(2):
        printed = shell(script, directory)

        assert [line.strip() for line in printed.splitlines()] == block("text", "create:").splitlines()


def test_the_reset_of_the_demo_deletes_all_of_its_data(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (directory, port, _):
        shell(block("sh", "Idempotency-Key").replace(":8000/", f":{port}/"), directory)

    shell(block("sh", "rm -rf"), tmp_path)

    assert list((tmp_path / "var").iterdir()) == []


def test_the_delivery_to_a_mail_server_prints_the_text_of_the_page(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    ports = free_port(), free_port()

    def here(script: str) -> str:
        return script.replace("8025", str(ports[0])).replace("8010", str(ports[1]))

    started = here(block("sh", "aiosmtpd")) + "wait"
    servers = subprocess.Popen(
        ["bash", "-c", started],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for port in ports:
            wait_until_it_listens(port)
        printed = shell(here(block("sh", "Prefer: wait=5")), tmp_path)
    finally:
        os.killpg(servers.pid, signal.SIGTERM)
        servers.wait(20)

    shown = block("text", "ticket-delivery")
    assert re.sub(r"\d{4}-\S+Z", "…", printed).replace("\r", "") == re.sub(r"\d{4}-\S+Z", "…", shown)


def test_the_table_of_settings_is_the_settings() -> None:
    rows = [
        f"| `{PREFIX}{name.upper()}` | {'-' if field.default is None else f'`{field.default}`'} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    page = re.sub(r"(^\| `TICKETS_.*\n)+", lambda _: "".join(rows), SETTINGS.read_text(), flags=re.MULTILINE)

    assert page == external_file(SETTINGS, format=".txt")


def _shape(answer: Any) -> Any:
    """Replace values that differ between runs: dates, ids and hashes."""
    if isinstance(answer, dict):
        return {name: _shape(value) for name, value in answer.items()}
    return (
        re.sub(r"\d{4}-\d\d-\d\dT\S+Z|[0-9a-f-]{36}|\}\S{64}", "…", answer)
        if isinstance(answer, str)
        else answer
    )
