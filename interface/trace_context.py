"""The W3C trace context, which correlates requests, events and log entries."""

import os
import re
from collections.abc import Callable

# W3C Trace Context, section 3.2: version ff and all-zero ids are invalid; a version above 00 may have more fields after the flags.
_TRACEPARENT = re.compile(
    r"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?)"
)
_TRACEPARENT_LENGTH = 55


_ID_BYTES, _IDS = 16, 256
_ids: list[str] = []
# The ids of a parent process would be those of its child, too.
os.register_at_fork(after_in_child=_ids.clear)


def random_id(octets: int) -> str:
    """Return that many random bytes in hex, at most 16. The ids of requests are not secret.

    They are read from the operating system 4 KiB at a time, since a request needs three of them.
    """
    try:
        return _ids.pop()[: 2 * octets]  # atomic: no two threads get the same one
    except IndexError:
        text, length = os.urandom(_ID_BYTES * _IDS).hex(), 2 * _ID_BYTES
        _ids.extend(text[place : place + length] for place in range(0, len(text), length))
        return random_id(octets)


def parse_traceparent(text: str) -> str | None:
    """Return the first four fields of a traceparent; None: it is invalid."""
    return text[:_TRACEPARENT_LENGTH] if _TRACEPARENT.fullmatch(text) else None


def new_traceparent(new_id: Callable[[int], str] = random_id) -> str:
    """Return a trace context for work that no request started."""
    return f"00-{new_id(16)}-{new_id(8)}-01"
