"""What every Sealer does."""

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


def test_what_is_sealed_opens_again(sealer: Sealer) -> None:
    sealed = sealer.seal(ClearTicket("ticket"), "row-1")

    assert sealer.unseal(sealed, "row-1").reveal() == "ticket"


def test_a_seal_hides_the_ticket(sealer: Sealer) -> None:
    assert b"ticket" not in sealer.seal(ClearTicket("ticket"), "row-1")


def test_two_seals_of_the_same_ticket_differ(sealer: Sealer) -> None:
    assert sealer.seal(ClearTicket("ticket"), "row") != sealer.seal(ClearTicket("ticket"), "row")


def test_a_ticket_that_was_moved_to_another_row_does_not_open(sealer: Sealer) -> None:
    sealed = sealer.seal(ClearTicket("ticket"), "row-1")

    with pytest.raises(SealBroken):
        sealer.unseal(sealed, "row-2")


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(100), b"\x01"])
def test_what_is_no_seal_does_not_open(sealer: Sealer, sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, "row")


def test_no_changed_byte_passes() -> None:
    sealer = sealer_with(KEY)
    sealed = sealer.seal(ClearTicket("ticket"), "row")

    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(SealBroken):
            sealer.unseal(bytes(changed), "row")


def test_another_key_is_named_as_the_reason() -> None:
    sealed = sealer_with(KEY).seal(ClearTicket("ticket"), "row")

    with pytest.raises(SealBroken, match="an outbox key that is not there: bring the key back"):
        sealer_with(NEW_KEY).unseal(sealed, "row")


def test_a_former_key_opens_and_the_first_one_seals() -> None:
    former = sealer_with(KEY).seal(ClearTicket("ticket"), "row")
    rotated = sealer_with(NEW_KEY, KEY)

    assert rotated.unseal(former, "row").reveal() == "ticket"
    assert not rotated.is_new(former)
    anew = rotated.seal(ClearTicket("ticket"), "row")
    assert rotated.is_new(anew)
    assert sealer_with(NEW_KEY).unseal(anew, "row").reveal() == "ticket"


def test_a_key_is_never_printed() -> None:
    assert repr(sealer_with(KEY)) == "AesGcmSealer(***)"
