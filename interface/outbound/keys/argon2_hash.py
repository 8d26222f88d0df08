"""The slow hash: Argon2id, in the form of docs/http-contract.md."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.tickets.stored_hash import ARGON2ID, FastHash, slow_parts, wrapped
from domain.tickets.ticket import ClearTicket

# OWASP (ASVS 5.0, appendix C): 46 MiB, one pass, one lane.
_MEMORY_KIB = 46 * 1024
# Verified if there is no hash, so that the time does not reveal it; of no ticket. Its salt and its hash are zeros.
_DECOY = f"$argon2id$v=19$m={_MEMORY_KIB},t=1,p=1${'A' * 22}${'A' * 43}"


class Argon2Hash:
    """Implements the port SlowHash."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=1, memory_cost=_MEMORY_KIB, parallelism=1)

    def hash(self, ticket: ClearTicket) -> str:
        """Return `{ARGON2ID}` and the PHC string."""
        return ARGON2ID + str(self._hasher.hash(ticket.reveal()))

    def wrap(self, fast: FastHash) -> str:
        """Return the stored form of Argon2id over the digest of an imported hash."""
        return wrapped(fast, str(self._hasher.hash(fast.digest)))

    def matches(self, ticket: ClearTicket, ticket_hash: str | None) -> bool:
        """Return whether the hash is of the ticket; without a hash, False at the same cost."""
        secret, phc = slow_parts(ticket.reveal(), ticket_hash or f"{ARGON2ID}{_DECOY}")
        try:
            self._hasher.verify(phc, secret)
        except (VerificationError, InvalidHashError):
            return False
        return ticket_hash is not None
