from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

from interface.outbound.keys.ledger_keys import LedgerKeys
from tests.support.fakes import FakeClock

STARTS = 8


def keys_in(directory: Path) -> LedgerKeys:
    return LedgerKeys(directory, "tickets", clock=FakeClock(), overlap=timedelta(days=30))


def test_two_rotations_within_a_second_create_two_keys(tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "ledger")
    [(_, first)] = keys.public()

    second, third = keys.rotate(), keys.rotate()

    assert keys.public() == [
        ("20261123T094202Z", third),
        ("20261123T094201Z", second),
        ("20261123T094200Z", first),
    ]
    assert len({first, second, third}) == 3


def test_one_of_several_starting_processes_creates_the_first_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(STARTS) as pool:
        for number in range(30):
            begin = Barrier(STARTS)

            def start(begin: Barrier = begin, directory: Path = tmp_path / str(number)) -> LedgerKeys:
                begin.wait(30)
                return keys_in(directory)

            started = [each.result() for each in [pool.submit(start) for _ in range(STARTS)]]

            assert len({each.public()[0] for each in started}) == 1
            assert all(len(each.public()) == 1 for each in started)
