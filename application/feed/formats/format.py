"""An output format of the feed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from application.feed.feed import Batch, FeedQuery
from application.feed.feed_event import FeedEvent


@dataclass(frozen=True)
class Format:
    """How events are encoded.

    media_type: of a page; event_media_type: of a single event. encode: returns an event without the id of the preceding
    one; called once per event. complete: adds the id of the preceding event, which depends on the reader's filter. join:
    returns the page of several complete events. item: the type of the items if a page is a JSON array; None: it is text.
    """

    media_type: str
    event_media_type: str
    encode: Callable[[FeedEvent], bytes]
    complete: Callable[[bytes, str], bytes]
    join: Callable[[Sequence[bytes]], bytes]
    item: type | None = None

    def prepare(self, events: Sequence[FeedEvent]) -> None:
        """Encode the events for all readers."""
        for event in events:
            self._encode_once(event)

    def encode_event(self, event: FeedEvent, previous: int) -> bytes:
        """Return a complete event. previous: the position of the preceding event."""
        encoded = event.encoded.get(self.media_type) or self._encode_once(event)
        return self.complete(encoded, event.eras.text_at(previous))

    def encode_batch(self, query: FeedQuery, batch: Batch) -> list[bytes]:
        """Return the complete events of a batch."""
        return [self.encode_event(event, previous) for event, previous in batch.with_previous(query)]

    def encode_page(self, query: FeedQuery, batch: Batch) -> bytes:
        """Return the events of a batch as one document."""
        return self.join(self.encode_batch(query, batch))

    def _encode_once(self, event: FeedEvent) -> bytes:
        return event.encoded.setdefault(self.media_type, self.encode(event))
