"""The seals of rows, and the keys under which they are made."""

from datetime import timedelta
from pathlib import Path

import pytest

from application.shared.errors import KeyMissing
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.row_sealer import RowSealer
from tests.support.fakes import FakeClock

ROW = ("client", "user", 3, b'{"a":1}')
# Each differs from ROW in one part, or moves a byte from one part to the next.
OTHERS = [
    ("client2", "user", 3, b'{"a":1}'),
    ("client", "user2", 3, b'{"a":1}'),
    ("clien", "tuser", 3, b'{"a":1}'),
    ("client4:user3", "", 3, b'{"a":1}'),
    ("client", "user", 4, b'{"a":1}'),
    ("client", "user", 3, b'{"a":2}'),
    ("client", "user", 3, b""),
    ("client", "user", 3, None),
    ("client", "user", 3, '{"a":1}'),
    (None, "user", 3, b'{"a":1}'),
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(tmp_path: Path, clock: FakeClock) -> LedgerKeys:
    return LedgerKeys(tmp_path / "ledger", "tickets", clock=clock, overlap=timedelta(days=30))


def sealer_of(keys: LedgerKeys, clock: FakeClock) -> RowSealer:
    return RowSealer(keys.row_keys, clock=lambda: clock().timestamp())


def test_a_seal_matches_its_row_in_its_table_only(keys: LedgerKeys, clock: FakeClock) -> None:
    sealer = sealer_of(keys, clock)
    seal = sealer.seal("tickets", ROW)

    assert sealer.matches("tickets", ROW, seal)
    assert not sealer.matches("policies", ROW, seal)
    assert not any(sealer.matches("tickets", other, seal) for other in OTHERS)
    assert not any(
        sealer.matches("tickets", ROW, other) for other in (None, b"", seal[:-1], seal + b"\0", "x")
    )


def test_a_new_key_seals_after_an_hour_and_is_accepted_before(keys: LedgerKeys, clock: FakeClock) -> None:
    sealer = sealer_of(keys, clock)
    former = sealer.seal("tickets", ROW)
    clock.advance(timedelta(days=1))
    keys.rotate()

    clock.advance(timedelta(minutes=59))
    assert sealer.seal("tickets", ROW) == former
    clock.advance(timedelta(minutes=2))
    new = sealer.seal("tickets", ROW)

    assert new != former
    assert sealer.matches("tickets", ROW, former)
    assert sealer_of(keys, clock).matches("tickets", ROW, new)


def test_a_seal_under_an_unknown_key_makes_the_keys_be_read_again(keys: LedgerKeys, clock: FakeClock) -> None:
    behind = sealer_of(keys, clock)
    behind.seal("tickets", ROW)
    clock.advance(timedelta(hours=2))
    keys.rotate()
    clock.advance(timedelta(hours=2))
    new = sealer_of(keys, clock).seal("tickets", ROW)

    assert behind.matches("tickets", ROW, new)


def test_keys_that_disappear_are_kept_by_a_running_process(
    keys: LedgerKeys, clock: FakeClock, tmp_path: Path
) -> None:
    sealer = sealer_of(keys, clock)
    seal = sealer.seal("tickets", ROW)
    for file in (tmp_path / "ledger").glob("*.pem"):
        file.unlink()
    clock.advance(timedelta(hours=2))

    assert sealer.seal("tickets", ROW) == seal
    assert sealer.matches("tickets", ROW, seal)
    with pytest.raises(KeyMissing):
        sealer_of(keys, clock).seal("tickets", ROW)


def test_a_key_is_never_printed(keys: LedgerKeys, clock: FakeClock) -> None:
    assert repr(sealer_of(keys, clock)) == "RowSealer(***)"


def test_a_refused_row_is_named_once_a_minute_and_at_most_a_thousand_are(
    keys: LedgerKeys, clock: FakeClock
) -> None:
    sealer = sealer_of(keys, clock)
    places = [f"user {number}" for number in range(2_000)]

    named = [place for place in places * 2 if sealer.is_to_be_named(place)]
    clock.advance(timedelta(seconds=59))
    assert not sealer.is_to_be_named("user 0")
    clock.advance(timedelta(seconds=1))
    later = [place for place in ("user 0", "user 0", "user 1999") if sealer.is_to_be_named(place)]

    assert named == places[:1_000]
    assert later == ["user 0", "user 1999"]
