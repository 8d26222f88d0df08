"""The scope of evidence: the life of a stream, or a range of entries."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote
from uuid import UUID

from application.record.history import PAGE, stream_pages
from application.record.ledger import Ledger, LedgerBroken, LedgerEntry
from application.tickets.records import TicketNotFound
from domain.policies.policy_definition import policy_stream_id
from domain.subscriptions.subscription import subscription_stream_id
from domain.tickets.events import stream_id

Life = Literal["user", "policy", "subscription"]
_STREAMS: dict[Life, Callable[[str, str], UUID]] = {
    "user": stream_id,
    "policy": policy_stream_id,
    "subscription": subscription_stream_id,
}


@dataclass(frozen=True)
class EvidenceScope:
    """The events that evidence contains: those of a stream, or the entries from `first` to `last`.

    line: of the manifest. named, absent: for messages. stream: None for entries. last: None for the newest entry.
    """

    client_ext_id: str
    line: str
    named: str
    absent: str
    stream: UUID | None = None
    first: int = 1
    last: int | None = None

    def at(self, size: int) -> "EvidenceScope":
        """Return the scope in a ledger of this size. Raises TicketNotFound if the ledger has fewer entries."""
        if self.stream:
            return self
        last = self.last or size
        if not self.first <= last <= size:
            raise TicketNotFound(self.absent)
        return replace(self, line=f"entries {self.first} {last}", last=last)

    def pages(self, ledger: Ledger, size: int) -> Iterator[Sequence[LedgerEntry]]:
        """Yield the entries by position, up to the size. Raises LedgerBroken if one is missing, StoreUnavailable."""
        if self.stream:
            for page in stream_pages(self.client_ext_id, self.stream, self.named, ledger=ledger):
                yield [entry for entry in page if entry.position <= size]
            return
        after, last = self.first - 1, self.last or size
        while after < last:
            found = ledger.entries(self.client_ext_id, after, min(PAGE, last - after))
            if [entry.position for entry in found] != [
                *range(after + 1, after + 1 + len(found))
            ] or not found:
                raise LedgerBroken(
                    f"an entry after position {after} of client {self.client_ext_id!r} is missing from the record:"
                    " run `tickets replay --check`"
                )
            after += len(found)
            yield found


def life_of(kind: Life, client_ext_id: str, name: str) -> EvidenceScope:
    """Return the events of a user's ticket, of a policy or of a subscription."""
    named, absent = f"{kind} {name!r}", f"There is no event of {kind} {name!r}."
    if kind == "user":
        named, absent = f"the ticket of {named}", f"User {name!r} never had a ticket."
    stream = _STREAMS[kind](client_ext_id, name)
    return EvidenceScope(client_ext_id, f"{kind} {quote(name, safe='')}", named, absent, stream)


def stream_of(client_ext_id: str, stream: UUID) -> EvidenceScope:
    """Return the events of a stream."""
    named = f"stream {stream}"
    return EvidenceScope(client_ext_id, named, named, f"There is no event of {named}.", stream)


def entries_of(client_ext_id: str, first: int = 1, last: int | None = None) -> EvidenceScope:
    """Return the entries at these positions; without `last`, up to the newest."""
    named = f"the entries from position {first} to {last or 'the newest'}"
    absent = f"The ledger of client {client_ext_id!r} does not have {named}."
    return EvidenceScope(client_ext_id, "", named, absent, None, first, last)
