"""Minting: what create and regenerate share."""

from application.ports import Randomness, Sealer, delivery_id
from application.projection import TicketRow
from application.unit_of_work import UnitOfWork
from domain.policy import TicketPolicy
from domain.ticket import SALT_BYTES, ClearTicket, hash_ticket, mint


def mint_and_hash(policy: TicketPolicy, randomness: Randomness) -> tuple[ClearTicket, str]:
    """Return a new clear ticket by the policy, and its salted hash."""
    ticket = mint(policy, randomness.below)
    return ticket, hash_ticket(ticket, randomness.octets(SALT_BYTES))


def seal_and_hand_over(ticket: ClearTicket, row: TicketRow, unit: UnitOfWork, sealer: Sealer) -> None:
    """Put the ticket into the outbox, sealed so that it opens as the ticket of this event only."""
    unit.hand_over(row, sealer.seal(ticket, bound_to=delivery_id(row.stream, row.version)))
