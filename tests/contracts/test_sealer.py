"""Contract of every Sealer."""

import sys

import pytest

from application.shared.errors import SealBroken
from application.shared.ports import Sealer
from domain.tickets.ticket import ClearTicket
from interface.outbound.keys.aes_gcm_sealer import AesGcmSealer
from tests.support.fakes import FakeSealer

KEY, NEW_KEY = bytes(32), b"k" * 32


def sealer_with(*keys: bytes) -> AesGcmSealer:
    return AesGcmSealer(lambda: keys)


@pytest.fixture(params=["fake", "aes-gcm"])
def sealer(request: pytest.FixtureRequest) -> Sealer:
    return FakeSealer() if request.param == "fake" else sealer_with(KEY)


def test_a_sealed_secret_can_be_unsealed(sealer: Sealer) -> None:
    sealed = sealer.seal(ClearTicket("ticket"), "row-1")

    assert sealer.unseal(sealed, "row-1").reveal() == "ticket"


def test_a_seal_hides_the_ticket(sealer: Sealer) -> None:
    assert b"ticket" not in sealer.seal(ClearTicket("ticket"), "row-1")


def test_two_seals_of_the_same_ticket_are_different(sealer: Sealer) -> None:
    assert sealer.seal(ClearTicket("ticket"), "row") != sealer.seal(ClearTicket("ticket"), "row")


def test_a_seal_moved_to_another_row_cannot_be_unsealed(sealer: Sealer) -> None:
    sealed = sealer.seal(ClearTicket("ticket"), "row-1")

    with pytest.raises(SealBroken):
        sealer.unseal(sealed, "row-2")


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(100), b"\x01"])
def test_invalid_bytes_cannot_be_unsealed(sealer: Sealer, sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, "row")


def test_a_changed_byte_is_detected() -> None:
    sealer = sealer_with(KEY)
    sealed = sealer.seal(ClearTicket("ticket"), "row")

    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(SealBroken):
            sealer.unseal(bytes(changed), "row")


def test_a_missing_key_is_reported() -> None:
    sealed = sealer_with(KEY).seal(ClearTicket("ticket"), "row")

    with pytest.raises(SealBroken, match="a missing outbox key: restore the key"):
        sealer_with(NEW_KEY).unseal(sealed, "row")


def test_the_first_key_seals_and_previous_keys_unseal() -> None:
    former = sealer_with(KEY).seal(ClearTicket("ticket"), "row")
    rotated = sealer_with(NEW_KEY, KEY)

    assert rotated.unseal(former, "row").reveal() == "ticket"
    assert not rotated.is_new(former)
    resealed = rotated.seal(ClearTicket("ticket"), "row")
    assert rotated.is_new(resealed)
    assert sealer_with(NEW_KEY).unseal(resealed, "row").reveal() == "ticket"


def test_a_retired_key_does_not_stay_in_memory() -> None:
    retired = bytes([7]) * 32
    keys = [retired]
    references = sys.getrefcount(retired)
    sealer = AesGcmSealer(lambda: list(keys))
    sealed = sealer.seal(ClearTicket("ticket"), "row")

    keys[:] = [NEW_KEY, retired]
    assert sealer.unseal(sealed, "row").reveal() == "ticket"
    keys[:] = [NEW_KEY, KEY]
    sealer.seal(ClearTicket("ticket"), "row")

    assert sys.getrefcount(retired) == references - 1


def test_a_key_is_never_printed() -> None:
    assert repr(sealer_with(KEY)) == "AesGcmSealer(***)"
