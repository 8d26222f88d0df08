import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import fresh_database, running_server

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def chance() -> random.Random:
    """The randomness of a test. pytest shows the seed of a failed test; TICKETS_TEST_SEED sets it."""
    seed = int(os.environ.get("TICKETS_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"TICKETS_TEST_SEED={seed}")  # noqa: T201
    return random.Random(seed)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with running_server(flushes=False) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/var/tickets.db"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test over both stores."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that stays free for a server that listens on it with SO_REUSEADDR."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
