from collections.abc import Iterator

import pytest

from tests.support.service import Service, service_over
from tests.support.stores import temporary_store


@pytest.fixture
def service() -> Iterator[Service]:
    with temporary_store() as store, service_over(store) as service:
        yield service
