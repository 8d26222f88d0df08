from application.feed.feed import Batch, FeedQuery
from application.feed.feed_event import FeedEvent
from application.feed.formats import CLOUD_EVENTS, FORMATS, Format
from application.record.eras import Era, Eras
from application.record.objects import EventObject
from tests.support.fakes import NOW


def event(position: int) -> FeedEvent:
    return FeedEvent(
        position=position,
        source="tickets/client-123",
        type="TicketRegenerated",
        time=NOW,
        user_ext_id="user-123",
        version=position,
        actor="anna",
        reason=None,
        traceparent="",
        changed={"resetCount": 1},
        object=EventObject("TicketCredential", "t-1", "t-1"),
        eras=Eras([Era("0a1b2c3d", 3, "")]),
    )


def test_an_event_is_encoded_once_for_all_readers() -> None:
    encoded: list[int] = []

    def encode(event: FeedEvent) -> bytes:
        encoded.append(event.position)
        return b"%d" % event.position

    lines = Format(
        media_type="text/plain",
        event_media_type="text/plain",
        encode=encode,
        complete=lambda text, previous: b"%s after %s\n" % (text, str(previous).encode()),
        join=b"".join,
    )
    batch = Batch(1, [event(3), event(4)], 4)

    unfiltered = lines.encode_page(FeedQuery("client-123"), batch)
    filtered = lines.encode_page(FeedQuery("client-123", types=frozenset({"TicketRegenerated"})), batch)

    assert (unfiltered, filtered) == (b"3 after 2\n4 after 3\n", b"3 after 1\n4 after 3\n")
    assert encoded == [3, 4]


def test_the_formats_of_one_event_are_separate() -> None:
    other = Format("text/plain", "text/plain", lambda _: b"other", lambda text, _: text, b"".join)
    shared = event(4)

    other.prepare([shared])
    CLOUD_EVENTS.prepare([shared])

    assert other.encode_event(shared, 3) == b"other"
    assert CLOUD_EVENTS.encode_event(shared, 5).endswith(
        b'"changed":{"resetCount":1}},"previous":"5~0a1b2c3d"}'
    )


def test_cloud_events_are_the_default() -> None:
    assert next(iter(FORMATS.values())) is CLOUD_EVENTS
