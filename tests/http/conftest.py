from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes import FakeStore
from tests.support.web import Web, web_over


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with web_over(FakeStore(), tmp_path) as web:
        yield web
