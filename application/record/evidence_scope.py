"""The scope of evidence: the life of a stream, or a range of entries."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote
from uuid import UUID

from application.record.history import PAGE, stream_pages
from application.record.ledger import Ledger, LedgerBroken, LedgerEntry
from application.tickets.records import TicketNotFound
from domain.policies.policy_definition import policy_stream_id
from domain.subscriptions.subscription import subscription_stream_id
from domain.tickets.events import stream_id

_STREAMS: dict[str, Callable[[str, str], UUID]] = {
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


def evidence_scope(
    client_ext_id: str,
    *,
    user: str | None = None,
    policy: str | None = None,
    subscription: str | None = None,
    stream: str | None = None,
    first: int | None = None,
    last: int | None = None,
) -> EvidenceScope:
    """Return the events of a user's ticket, of a policy, of a subscription, of a stream, or the entries at these positions.

    Without any of them, it is the complete ledger. Raises ValueError with a message if they are wrong.
    """
    of_streams = {"user": user, "policy": policy, "subscription": subscription, "stream": stream}
    given = [(kind, name) for kind, name in of_streams.items() if name is not None]
    if len(given) + (first is not None or last is not None) > 1:
        raise ValueError("give only one of a user, a policy, a subscription, a stream, or positions")
    if not given:
        return _entries(client_ext_id, first or 1, last)
    [(kind, name)] = given
    if kind == "stream":
        named = f"stream {_uuid(name)}"
        return EvidenceScope(client_ext_id, named, named, f"There is no event of {named}.", _uuid(name))
    named, absent = f"{kind} {name!r}", f"There is no event of {kind} {name!r}."
    if kind == "user":
        named, absent = f"the ticket of {named}", f"User {name!r} never had a ticket."
    line = f"{kind} {quote(name, safe='')}"
    return EvidenceScope(client_ext_id, line, named, absent, _STREAMS[kind](client_ext_id, name))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("the stream must be a UUID") from None


def _entries(client_ext_id: str, first: int, last: int | None) -> EvidenceScope:
    if last is not None and last < first:
        raise ValueError("the last position must not be before the first")
    named = f"the entries from position {first} to {last or 'the newest'}"
    absent = f"The ledger of client {client_ext_id!r} does not have {named}."
    return EvidenceScope(client_ext_id, "", named, absent, None, first, last)
