"""Minting and comparing: what the use cases share that make or check a ticket.

A password hash takes long, so the writer does not compute it: a handler that needs one raises SlowWork, the
caller does the work beside the writer, and submits the command again with its result.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from application.shared.ports import Randomness
from application.tickets.records import TicketCommand
from application.transaction.command import Command
from domain.policies.policy import HashAlgorithm, TicketPolicy
from domain.tickets.state import TicketState
from domain.tickets.ticket import DECOY, SALT_BYTES, ClearTicket, hash_ticket, is_slow, mint, verify_ticket


class SlowHash(Protocol):
    """A password hash: takes long and much memory, so it runs beside the writer, and few at a time."""

    def hash(self, ticket: ClearTicket) -> str:
        """Return `{ARGON2ID}` and the PHC string."""

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        """Tell whether the ticket is behind the hash; without one it costs the same and is False."""


class SlowWork(Exception):
    """The command needs a slow hash before it can be decided; `finish` returns it with its result."""

    def __init__(self, finish: Callable[[SlowHash], Command]) -> None:
        super().__init__("a slow hash is needed first")
        self.finish = finish


@dataclass(frozen=True)
class PreparedHash:
    """A ticket that was hashed slowly, under the policy for which it was."""

    policy: TicketPolicy
    ticket: ClearTicket
    ticket_hash: str


@dataclass(frozen=True)
class HashComparison:
    """Whether the presented ticket is behind this slow hash (None: there was none to compare with)."""

    ticket_hash: str | None
    matches: bool


@dataclass(frozen=True, kw_only=True)
class MintingCommand(TicketCommand):
    """A command that makes a ticket, or a hash of one."""

    prepared: PreparedHash | None = None


def mint_and_hash(
    command: MintingCommand, policy: TicketPolicy, randomness: Randomness
) -> tuple[ClearTicket, str]:
    """Return a new clear ticket by the policy, and its salted hash. Raises SlowWork."""
    if command.prepared and command.prepared.policy == policy:
        return command.prepared.ticket, command.prepared.ticket_hash
    ticket = mint(policy, randomness.below)
    return ticket, hash_for_policy(command, policy, ticket, randomness)


def hash_for_policy(
    command: MintingCommand, policy: TicketPolicy, ticket: ClearTicket, randomness: Randomness
) -> str:
    """Return the hash of the ticket as the policy asks. Raises SlowWork."""
    if policy.hash_algorithm is HashAlgorithm.SSHA256:
        return hash_ticket(ticket, randomness.octets(SALT_BYTES))
    if command.prepared and command.prepared.policy == policy:
        return command.prepared.ticket_hash
    raise SlowWork(
        lambda slow_hash: replace(command, prepared=PreparedHash(policy, ticket, slow_hash.hash(ticket)))
    )


def ticket_matches(
    command: Command,
    ticket: ClearTicket,
    compared: HashComparison | None,
    row: TicketState | None,
    policy: TicketPolicy,
) -> bool:
    """Tell whether the ticket is behind the row's hash, at the same cost where there is no row. Raises SlowWork."""
    slow = is_slow(row.ticket_hash) if row else policy.hash_algorithm is HashAlgorithm.ARGON2ID
    if not slow:
        return verify_ticket(ticket, row.ticket_hash if row else DECOY)
    ticket_hash = row.ticket_hash if row else None
    if compared and compared.ticket_hash == ticket_hash:
        return compared.matches

    def finish(slow_hash: SlowHash) -> Command:
        return replace(command, compared=HashComparison(ticket_hash, slow_hash.matches(ticket, ticket_hash)))  # type: ignore[call-arg]

    raise SlowWork(finish)
