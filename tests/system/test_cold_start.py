"""A process imports the libraries that its settings use, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import NO_DELIVERY, serving

LIBRARIES = ("aiohttp", "psycopg", "rfc3161_client")


def libraries_in(process: int) -> set[str]:
    """Return which of the libraries a process has loaded, by the files of their compiled parts."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return {library for library in LIBRARIES if f"/{library}" in maps}


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_a_server_loads_no_library_of_other_settings(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(f"{store}_url")
    # With this option the process is not forked from one that has loaded all.
    with serving(tmp_path, url, "--workers", "1", **NO_DELIVERY) as server:
        server.client.put("/client-1/users/user-1", json={"email": "a@example.com"}).raise_for_status()
        server.client.post("/client-1/users/user-1/ticket", json={}).raise_for_status()
        loaded = libraries_in(server.process.pid)

    assert loaded == ({"psycopg"} if store == "postgres" else set())


def test_a_module_is_imported_with_its_first_name() -> None:
    program = (
        "import sys; from interface.lazy import lazy; wave = lazy('wave'); assert 'wave' not in sys.modules;"
        "assert wave.Error is sys.modules['wave'].Error"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
