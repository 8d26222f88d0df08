"""The W3C trace context, which correlates requests, events and log entries."""

import re
import secrets
from collections.abc import Callable

# W3C Trace Context, section 3.2: version ff and all-zero ids are invalid; a version above 00 may have more fields after the flags.
_TRACEPARENT = re.compile(
    r"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?)"
)
_TRACEPARENT_LENGTH = 55


def parse_traceparent(text: str) -> str | None:
    """Return the first four fields of a traceparent; None: it is invalid."""
    return text[:_TRACEPARENT_LENGTH] if _TRACEPARENT.fullmatch(text) else None


def new_traceparent(new_id: Callable[[int], str] = secrets.token_hex) -> str:
    """Return a trace context for work that no request started."""
    return f"00-{new_id(16)}-{new_id(8)}-01"
