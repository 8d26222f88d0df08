"""The two lanes of the tests: `make test`, in about 10 minutes, and `make test-slow`."""

import os
from typing import Any

import pytest


def forms(*, short: Any, full: Any) -> list[Any]:
    """Return the values of a parameter: the short form of a test is for `make test`, the full one for `make test-slow`."""
    return [pytest.param(short, id="short"), pytest.param(full, id="full", marks=pytest.mark.slow)]


# The number of cases of a fuzz test; `make fuzz` sets more.
MOST_CASES = int(os.environ.get("TICKETS_TEST_FUZZ_CASES", "10000"))
FUZZ_CASES = forms(short=30, full=MOST_CASES)
