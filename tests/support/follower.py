"""A subscriber in a separate process, which a test can kill."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.server import ROOT


class Follower:
    """A process that prints events and resumes by a file; it can be killed and restarted."""

    def __init__(self, command: list[str], directory: Path, output: Path, **environment: str) -> None:
        self._command = command
        self._directory = directory
        self._output = output
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output, self._output.with_suffix(".err").open("ab") as errors:
            return subprocess.Popen(
                self._command, cwd=self._directory, env=self._environment, stdout=output, stderr=errors
            )

    def kill(self) -> None:
        self.stop()
        # A truncated line is not an event; the next one begins on a new line.
        with self._output.open("ab") as output:
            output.write(b"\n")
        self.process = self._start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def events(self) -> list[Any]:
        """Return the output so far."""
        found = []
        for line in self._output.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found
