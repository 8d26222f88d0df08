"""A clock for a server, by libfaketime, which a test can set at run time."""

from pathlib import Path
from typing import Any

import pytest


class Clock:
    """The clock; environment: for starting a server that uses it."""

    def __init__(self, directory: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            pytest.skip("no libfaketime here: apt-get install libfaketime")
        self._file = directory / "clock"
        self.set(0)
        self.environment: Any = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            # The monotonic clock is not affected, as when a real clock is set.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: float) -> None:
        """Set it to this number of seconds from the real time."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{seconds:+f}\n")
        draft.replace(self._file)
