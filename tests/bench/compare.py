"""Two revisions, measured alternately: `python -m tests.bench.run --compare REV` compares REV with the working tree.

The load and the measurement are those of the working tree; the server and the credentials are those of each revision.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from tests.bench.report import console, number, spread
from tests.bench.results import Size, progress, revision
from tests.bench.stage import USERS, VAR, Stage, new_store
from tests.support.releases import program_of
from tests.support.server import NO_DELIVERY, ROOT, serving

_OPERATIONS = ("reset", "verify", "get")
# Executed with the code of the revision, whose `fill` had other parameters once.
_FILL = """
import inspect, sys
from pathlib import Path
import interface
from tests.bench import stage
from tests.support.server import given_outbox_key
code, directory, url, credentials = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
assert Path(interface.__file__).is_relative_to(code), interface.__file__
if "directory" in inspect.signature(stage.fill).parameters:
    stage.fill(directory, url, credentials)
else:
    stage.fill(url, credentials)
    given_outbox_key(directory)
    getattr(stage, "seal_rows", lambda *_: None)(directory, url)
"""


def compare(name: str, stores: list[str], size: Size) -> None:
    """Print the ratios of the working tree to a revision, and write them to var/bench/compare.json."""
    table = Table(title=f"the working tree / {name}: the median (least-most of the rounds)", box=SIMPLE)
    for title in ("store", "operation", "conn.", "throughput", "CPU", "per s, old, new", "CPU µs, old, new"):
        table.add_column(title, justify="left" if title in ("store", "operation") else "right")
    found = []
    with _code_of(name) as code:
        for store in stores:
            with _staged(store, code) as old, _staged(store, ROOT) as new:
                for connections in size.connections:
                    for operation in _OPERATIONS:
                        found.append(_measure({"old": old, "new": new}, operation, connections, size))
                        _add_row(table, found[-1])
    (VAR / "compare.json").write_text(json.dumps({"old": name, "new": revision(), "ratios": found}, indent=1))
    console.print(table)


@contextmanager
def _code_of(name: str) -> Iterator[Path]:
    """Yield a directory with the code of a revision, and with its packages if they differ. Raises RuntimeError."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    named = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if named.returncode:
        raise RuntimeError(f"{name} is not a revision of this repository")
    with program_of(named.stdout.strip()) as code:
        if (code / "requirements.lock").read_bytes() != (ROOT / "requirements.lock").read_bytes():
            subprocess.run(["make", ".venv/.ready"], cwd=code, check=True)
        yield code


@contextmanager
def _staged(store: str, code: Path) -> Iterator[Stage]:
    """Yield a server of this code, on a new store with credentials."""
    packages = code.glob(".venv/lib/python*/site-packages") if code != ROOT else ()
    path = os.pathsep.join(map(str, [code, *packages]))
    with new_store(store) as (directory, url, database):
        filling = [sys.executable, "-c", _FILL, str(code), str(directory), url, str(2 * USERS)]
        subprocess.run(filling, cwd=directory, env={**os.environ, "PYTHONPATH": path}, check=True)
        with serving(directory, url, PYTHONPATH=path, **NO_DELIVERY) as server:
            yield Stage(store, url, directory, server, database)


def _measure(stages: dict[str, Stage], operation: str, connections: int, size: Size) -> dict[str, Any]:
    figures: dict[str, list[dict[str, Any]]] = {which: [] for which in stages}
    for stage in stages.values():
        stage.measure(operation, connections, size.seconds)
    for turn in range(2 * size.rounds):
        # The order alternates, since the first load of a round can find another clock rate or a colder cache.
        for which in list(stages)[:: 1 if turn % 2 else -1]:
            progress.print(
                f"{stages[which].store}: {operation}, {connections} connections, {which}, round {turn + 1}"
            )
            figures[which].append(stages[which].measure(operation, connections, size.seconds))
    found: dict[str, Any] = {
        "store": stages["new"].store,
        "operation": operation,
        "connections": connections,
    }
    for measure in ("per_second", "cpu_us"):
        values = {which: [one[measure] for one in rounds] for which, rounds in figures.items()}
        ratios = [new / old for old, new in zip(values["old"], values["new"], strict=True)]
        found[measure] = [median(values["old"]), median(values["new"])]
        found[f"{measure}_ratio"] = [median(ratios), min(ratios), max(ratios)]
    return found


def _add_row(table: Table, found: dict[str, Any]) -> None:
    table.add_row(
        found["store"],
        found["operation"],
        str(found["connections"]),
        *(spread(*found[f"{measure}_ratio"]) for measure in ("per_second", "cpu_us")),
        *(", ".join(map(number, found[measure])) for measure in ("per_second", "cpu_us")),
    )
