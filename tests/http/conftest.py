from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stores import temporary_store
from tests.support.web import Web, web_over


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with temporary_store() as store, web_over(store, tmp_path) as web:
        yield web
