"""The wheel, built and installed without a network: it is complete, and `tickets` runs from it."""

import base64
import csv
import email
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from interface.settings import PREFIX
from tests.support.certificates import self_signed
from tests.support.server import BASE, PROJECT, ROOT, until

PACKAGES = ("application", "domain", "interface")
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(PREFIX) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    _build_into(directory)
    [built] = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def tickets(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tickets`, installed from the wheel in a separate environment, which borrows the dependencies only."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", str(environment), cwd=environment.parent)
    python = environment / "bin" / "python"
    _run(
        *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline", "--no-deps"),
        *("--no-cache", "--python", str(python), str(wheel)),
        cwd=environment.parent,
    )
    [packages] = environment.glob("lib/python*/site-packages")
    # This path is searched, but its .pth files, such as that of the project's checkout, are not read.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = _run(str(python), "-c", "import interface; print(interface.__file__)", cwd=environment.parent)
    assert Path(found.strip()).is_relative_to(packages)
    return environment / "bin" / "tickets"


def test_the_wheel_holds_the_three_complete_packages_and_nothing_else(wheel: Path) -> None:
    files = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.parent.name != "__pycache__"
    }

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert held == files


def test_the_wheel_names_its_version_and_holds_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [licence] = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        information = licence.partition("licenses/")[0]
        metadata = email.message_from_bytes(archive.read(f"{information}METADATA"))
        text = archive.read(licence)

    assert metadata["Version"] == PROJECT["version"]
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert text == (ROOT / "LICENSE").read_bytes()


def test_every_file_of_the_wheel_has_the_hash_of_its_record(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [record] = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        reported = {
            name: hashed for name, hashed, _ in csv.reader(archive.read(record).decode().splitlines())
        }
        found = {
            name: "" if name == record else f"sha256={_digest(archive.read(name))}"
            for name in archive.namelist()
        }

    assert reported == found


def test_the_same_source_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    _build_into(tmp_path)

    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_installed_it_serves_a_reset_and_spools_the_mail(tickets: Path, tmp_path: Path) -> None:
    assert "Ticket credentials" in _run(str(tickets), "--help", cwd=tmp_path)
    assert _run(str(tickets), "--version", cwd=tmp_path) == f"tickets {PROJECT['version']}\n"

    with _serving(tickets, tmp_path) as port:
        token = _run(str(tickets), *("token", "--sub", "t", "--client", "client-123", "--all"), cwd=tmp_path)
        answer = httpx.post(
            f"http://127.0.0.1:{port}{BASE}/client-123/users/user-123/ticket/reset",
            headers={"Authorization": f"Bearer {token.strip()}"},
        )
        # Two mails: the demo's own ticket, and this one. Their texts are files of the wheel.
        until(lambda: len(list(tmp_path.glob("var/mail/*.eml"))) == 2, "both mails are there")

    assert answer.status_code == 200
    assert answer.json()["resetCount"] == 1


@pytest.mark.parametrize("tls", [False, True])
def test_the_health_checks_of_the_image_and_of_compose_pass_while_it_serves_and_then_fail(
    tickets: Path, tmp_path: Path, tls: bool
) -> None:
    checks = [
        re.findall(r"python.*?-m.*?(interface\.healthcheck).*?(/[a-z]+)", text)[0]
        for text in ((ROOT / "deploy" / name).read_text() for name in ("Dockerfile", "compose.yaml"))
    ]
    assert [path for _, path in checks] == ["/livez", "/readyz"]
    settings = {}
    if tls:
        certificate = self_signed(tmp_path / "own.pem", host="tickets.bank.example")
        certificate.chmod(0o600)
        settings = dict.fromkeys(("TICKETS_TLS_CERT_FILE", "TICKETS_TLS_KEY_FILE"), str(certificate))

    def outcomes(port: int) -> dict[str, int]:
        return {
            path: subprocess.run(
                [tickets.with_name("python"), "-m", module, path, str(port)],
                cwd=tmp_path,
                env={**CLEAN, **settings},
                check=False,
            ).returncode
            for module, path in checks
        }

    with _serving(tickets, tmp_path, **settings) as port:
        until(lambda: outcomes(port) == {"/livez": 0, "/readyz": 0}, "both pass", seconds=10)
    assert outcomes(port) == {"/livez": 1, "/readyz": 1}


@contextmanager
def _serving(tickets: Path, directory: Path, **settings: str) -> Iterator[int]:
    """Run the demo; it must end when it is asked to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    server = subprocess.Popen(
        [str(tickets), "serve", "--demo", "--port", str(port)],
        cwd=directory,
        env={**CLEAN, **settings},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: _answers(port, server, tls=bool(settings)), "the server answers")
        yield port
        server.terminate()
        # uvicorn raises the signal again after its shutdown.
        assert server.wait(30) in (0, -signal.SIGTERM)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(30)


def _answers(port: int, server: subprocess.Popen[bytes], *, tls: bool) -> bool:
    assert server.poll() is None
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
    try:
        return httpx.get(url, trust_env=False, verify=False).status_code == 404
    except httpx.TransportError:
        return False


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _build_into(directory: Path) -> None:
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory")
    _run(*command, str(directory), cwd=ROOT)


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=CLEAN, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
