"""The ids of event streams that are derived from names."""

from uuid import UUID, uuid5


def named_stream_id(kind: UUID, client_ext_id: str, name: str) -> UUID:
    """Return the id of the stream with this name in a client. kind: the namespace of the streams of an aggregate.

    Names contain no control characters, so the separator distinguishes ("a", "bc") from ("ab", "c").
    """
    return uuid5(kind, f"{client_ext_id}\x1f{name}")
