"""The keys of the ledger are rotated, published, and created once."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from application.record.checkpoint import make_checkpoint
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.verify_evidence import Wrong, parse_keys, verify
from tests.support.evidence_zip import evidence_of
from tests.support.fakes import SUBJECT, FakeClock
from tests.support.ledgers import opened
from tests.support.service import service_over

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


def test_a_key_is_published_with_the_time_in_which_it_signs(tmp_path: Path) -> None:
    clock = FakeClock()
    keys = LedgerKeys(tmp_path, "tickets", clock=clock, overlap=timedelta(days=30))
    for days in (10, 100):
        clock.advance(timedelta(days=days))
        keys.rotate()

    third, second, first = keys.published()

    day = timedelta(days=1)
    assert (first.until, second.since) == (first.since + 40 * day, first.since + 10 * day)
    assert (second.until, third.since) == (third.since + 30 * day, first.since + 110 * day)
    assert third.until is None
    digits = hashlib.sha256(third.verifier_key.encode()).hexdigest()
    assert third.fingerprint == " ".join(re.findall("....", digits)[:8])
    keys.rotate()
    keys.rotate()
    assert keys.published()[2].until == keys.published()[0].since


def test_checkpoints_and_evidence_verify_after_rotations_with_every_key(
    tmp_path: Path, sqlite_url: str
) -> None:
    clock = FakeClock()
    signing = LedgerKeys(tmp_path / "keys", "tickets", clock=clock, overlap=timedelta(days=30))
    with opened(sqlite_url) as store, service_over(store) as service:
        service.register()
        service.create()
        old = make_checkpoint(SUBJECT.client_ext_id, ledger=store, signer=signing, clock=clock)
        assert old is not None
        first_evidence = evidence_of(SUBJECT, ledger=store, signer=signing, clock=clock)
        [first] = signing.published()
        signing.rotate()
        clock.advance(timedelta(days=29))
        service.regenerate()
        overlapping = evidence_of(SUBJECT, ledger=store, signer=signing, clock=clock)
        clock.advance(timedelta(days=2))
        service.regenerate()
        later = evidence_of(SUBJECT, ledger=store, signer=signing, clock=clock)
    note = old.note.encode()
    every = parse_keys("\n".join(key.verifier_key for key in signing.published()))

    assert verify(overlapping, parse_keys(first.verifier_key), note).events == 2
    with pytest.raises(Wrong, match="the manifest is not signed by the given key"):
        verify(later, parse_keys(first.verifier_key), note)
    assert [verify(one, every, note).events for one in (first_evidence, overlapping, later)] == [1, 2, 3]
