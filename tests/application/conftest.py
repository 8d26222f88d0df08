from collections.abc import Iterator

import pytest

from tests.support.fakes import FakeStore
from tests.support.service import Service, service_over


@pytest.fixture
def service() -> Iterator[Service]:
    with service_over(FakeStore()) as service:
        yield service
