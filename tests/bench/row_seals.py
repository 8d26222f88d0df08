"""The cost of row seals: the processor time of a seal, of its check, and of a reset with and without them.

`python -m tests.bench.row_seals`
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from interface.composition.register import TABLES
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT, FakeClock
from tests.support.service import service_over

_ROUNDS = 20
_SEALS, _RESETS = 5_000, 300


def _microseconds(*works: Callable[[], object], times: int) -> list[float]:
    """Return the processor time of one run of each, the least of several alternating rounds."""
    best = [inf] * len(works)
    for _ in range(_ROUNDS):
        for number, work in enumerate(works):
            began = process_time()
            for _ in range(times):
                work()
            best[number] = min(best[number], (process_time() - began) / times * 1e6)
    return best


def _of_a_reset(directory: Path, *sealers: RowSealer | None) -> list[float]:
    with ExitStack() as opened:
        resets = []
        for number, sealer in enumerate(sealers):
            store = opened.enter_context(closing(SqliteStore(directory / f"{number}.db", TABLES, sealer)))
            service = opened.enter_context(service_over(store))
            service.register()
            service.create()
            resets.append(service.regenerate)
        return _microseconds(*resets, times=_RESETS)


def main() -> None:
    """Print the figures."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        keys = LedgerKeys(directory / "keys", "tickets", clock=FakeClock(), overlap=timedelta(days=30))
        sealer = RowSealer(keys.row_keys)
        row = (*SUBJECT, 5, b"x" * 620)
        seal = sealer.seal("tickets", row)
        sealing, checking = _microseconds(
            lambda: sealer.seal("tickets", row), lambda: sealer.matches("tickets", row, seal), times=_SEALS
        )
        without, with_seals = _of_a_reset(directory, None, sealer)
    print(f"to seal a row: {sealing:.1f} µs, to check a seal: {checking:.1f} µs")  # noqa: T201
    print(f"a reset: {without:.0f} µs without seals, {with_seals:.0f} µs with them")  # noqa: T201


if __name__ == "__main__":
    main()
