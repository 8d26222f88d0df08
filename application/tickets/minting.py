"""Minting and verification shared by the use cases.

A password hash is slow, so the writer does not compute it (ADR 5): a handler that needs one raises SlowWork, the caller
computes the hash in a thread and submits the command again with the result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from application.shared.ports import Randomness
from application.tickets.records import SendingCommand
from application.transaction.command import Command
from domain.policies.policy import HashAlgorithm, TicketPolicy
from domain.tickets.state import TicketState
from domain.tickets.stored_hash import FastHash, is_slow
from domain.tickets.ticket import DECOY, SALT_BYTES, ClearTicket, hash_ticket, mint, verify_ticket
from domain.tickets.typed_ticket import as_minted


class SlowHash(Protocol):
    """A password hash function. It is slow and needs much memory, so few calls run concurrently, outside the writer."""

    def hash(self, ticket: ClearTicket) -> str:
        """Return `{ARGON2ID}` and the PHC string."""

    def wrap(self, fast: FastHash) -> str:
        """Return the hash of an imported hash (domain/tickets/stored_hash.py)."""

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        """Return whether the ticket matches the hash; without a hash, False at the same cost."""


class SlowWork(Exception):
    """The command needs a slow hash; `finish` computes it and returns the completed command."""

    def __init__(self, finish: Callable[[SlowHash], Command]) -> None:
        super().__init__("a slow hash is needed first")
        self.finish = finish


@dataclass(frozen=True)
class PreparedHash:
    """The slow hash of a ticket, and the policy for which it was computed."""

    policy: TicketPolicy
    ticket: ClearTicket
    ticket_hash: str


@dataclass(frozen=True)
class HashComparison:
    """The result of comparing the presented ticket with a slow hash (None: there was no hash)."""

    ticket_hash: str | None
    matches: bool


class MintingCommand(SendingCommand, frozen=True, kw_only=True):
    """A command that mints or hashes a ticket."""

    prepared: PreparedHash | None = None


def mint_and_hash(
    command: MintingCommand, policy: TicketPolicy, randomness: Randomness
) -> tuple[ClearTicket, str]:
    """Return a new clear ticket and its salted hash, as the policy requires. Raises SlowWork."""
    if command.prepared and command.prepared.policy == policy:
        return command.prepared.ticket, command.prepared.ticket_hash
    ticket = mint(policy, randomness.octets)
    return ticket, hash_for_policy(command, policy, ticket, randomness)


def hash_for_policy(
    command: MintingCommand, policy: TicketPolicy, ticket: ClearTicket, randomness: Randomness
) -> str:
    """Return the hash of the ticket with the policy's algorithm. Raises SlowWork."""
    if policy.hash_algorithm is HashAlgorithm.SSHA256:
        return hash_ticket(ticket, randomness.octets(SALT_BYTES))
    if command.prepared and command.prepared.policy == policy:
        return command.prepared.ticket_hash
    raise SlowWork(
        lambda slow_hash: replace(command, prepared=PreparedHash(policy, ticket, slow_hash.hash(ticket)))
    )


def ticket_matches(
    command: Command,
    typed: ClearTicket,
    compared: HashComparison | None,
    row: TicketState | None,
    policy: TicketPolicy,
) -> bool:
    """Return whether the typed ticket matches the row's hash, at the same cost without a row. Raises SlowWork.

    A fast hash is also compared with the ticket as typed, which another policy may have minted; a slow hash is computed once.
    """
    slow = is_slow(row.ticket_hash) if row else policy.hash_algorithm is HashAlgorithm.ARGON2ID
    ticket = as_minted(typed, policy)
    if not slow:
        fast_hash = row.ticket_hash if row else DECOY
        # Without a short cut, so that the time does not depend on the result.
        return verify_ticket(typed, fast_hash) | verify_ticket(ticket, fast_hash)
    ticket_hash = row.ticket_hash if row else None
    if compared and compared.ticket_hash == ticket_hash:
        return compared.matches

    def finish(slow_hash: SlowHash) -> Command:
        return replace(command, compared=HashComparison(ticket_hash, slow_hash.matches(ticket, ticket_hash)))

    raise SlowWork(finish)
