"""The bench: loads, compared with the bare server and with the textbook way. Run by `make bench` and its variants.

Every ratio is that of one round, in which the loads alternate, so that other load of the machine affects all equally; a
figure is the median of its rounds. Each part is merged into var/bench/latest.json as it ends. The exit status is 0 if
everything was measured, even if a target is missed; 1 if a response was an error, an answered reset was not stored, or a
part failed otherwise; 2 if an argument is wrong or a program is missing.
"""

import argparse
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.bench import load
from tests.bench.audit import audit, ledger_cost
from tests.bench.bulk import bulk
from tests.bench.compare import compare
from tests.bench.delivery import delivering
from tests.bench.flatness import flatness, starts
from tests.bench.neighbours import neighbours
from tests.bench.report import console, show
from tests.bench.results import (
    FULL,
    LARGE,
    LATEST,
    QUICK,
    TINY,
    Results,
    Size,
    keep,
    key_of,
    measured,
    progress,
    revision,
)
from tests.bench.stage import STORES, Filled, filled_stores
from tests.bench.subscribers import subscribers
from tests.bench.throughput import memory, open_load, side_by_side, slow_disk, workers


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part. needs: a program that must be on the PATH. is_filled: it measures a large store, filled once for all parts."""

    measure: Callable[..., None]
    needs: str = ""
    is_filled: bool = False


PARTS = {
    "side by side": Part(measure=side_by_side),
    "open load": Part(measure=open_load),
    "slow disk": Part(measure=slow_disk, needs="cc"),
    "workers": Part(measure=workers),
    "neighbours": Part(measure=neighbours),
    "bulk": Part(measure=bulk),
    "delivering": Part(measure=delivering),
    "ledger": Part(measure=ledger_cost),
    "subscribers": Part(measure=subscribers),
    "audit": Part(measure=audit),
    "memory": Part(measure=memory),
    # Last, since the filled stores exist from here to the end, and their database has work, too.
    "flatness": Part(measure=flatness, is_filled=True),
    "starts": Part(measure=starts, is_filled=True),
}
# `make bench-large` measures only these, and only it measures the memory after a million resets.
_OF_LARGE = ("memory", "flatness")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the bench. Raises SystemExit unless everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_const", const=QUICK, dest="size", help="a few minutes, rough"
    )
    parser.add_argument("--tiny", action="store_const", const=TINY, dest="size", help="meaningless figures")
    parser.add_argument("--large", action="store_const", const=LARGE, dest="size", help="10^7 credentials")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure only this; repeatable")
    parser.add_argument("--store", action="append", choices=STORES, help="measure only this; repeatable")
    parser.add_argument("--resume", action="store_true", help="skip the parts measured at this revision")
    parser.add_argument("--own-client", action="store_true", help="load without wrk, which costs more CPU")
    parser.add_argument(
        "--compare", metavar="REV", help="measure a revision and the working tree alternately"
    )
    options = parser.parse_args(arguments)
    size: Size = options.size or FULL
    names = options.part or [
        name for name in PARTS if (name in _OF_LARGE if size is LARGE else name != "memory")
    ]
    stores = options.store or list(STORES)
    if options.own_client or size is TINY:
        load.WITH_WRK = False
    elif not load.WITH_WRK:
        parser.exit(2, "wrk is not on the PATH: install it, or use --own-client, whose figures are lower\n")
    for name in [] if options.compare else names:
        if (program := PARTS[name].needs) and not shutil.which(program):
            parser.exit(2, f"{program} is not on the PATH: install it, or leave out the part {name}\n")
    if options.compare:
        _or_exit(f"comparison with {options.compare}", compare, options.compare, stores, size)
        return
    wanted = [(name, store) for name in names for store in stores]
    _measure([one for one in wanted if not (options.resume and _is_measured(size, *one))], size)
    parts = measured()
    show([parts[key_of(size, name, store)] for name, store in wanted])
    console.print(f"merged into {LATEST}")


def _is_measured(size: Size, name: str, store: str) -> bool:
    kept = measured().get(key_of(size, name, store), {}).get("revision")
    is_measured = bool(kept) and kept == revision() and not kept.endswith("-changed")
    if is_measured:
        progress.print(f"{store}: {name} is measured at {kept}, skipped")
    return is_measured


def _measure(pending: Sequence[tuple[str, str]], size: Size) -> None:
    with ExitStack() as stack:
        filled: dict[str, Filled] = {}
        for name, store in pending:
            part = PARTS[name]
            if part.is_filled and not filled:
                progress.print(f"writing {size.credentials[1]:,} credentials")
                stores = [of for other, of in pending if PARTS[other].is_filled]
                filled = stack.enter_context(filled_stores(list(dict.fromkeys(stores)), size.credentials[1]))
            results, began, begin = Results(), time.time(), time.monotonic()
            arguments = (filled[store],) if part.is_filled else ()
            _or_exit(f"{store}: {name}", part.measure, store, size, results, *arguments)
            keep(size, name, store, results, began=began, seconds=time.monotonic() - begin)


def _or_exit(what: str, work: Callable[..., None], *arguments: Any) -> None:
    """Exit with status 1 and a message if the work fails."""
    try:
        work(*arguments)
    except Exception as error:  # noqa: BLE001 - each is reported
        traceback.print_exc()
        sys.exit(f"FAILED: {what}: {error}")


if __name__ == "__main__":
    run()
