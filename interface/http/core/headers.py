"""The headers that every operation reads, and their OpenAPI declarations."""

import hmac
import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Header
from pydantic import WithJsonSchema

from application.transaction.command import Precondition
from interface.http.core.problems import Malformed

KEY_MAX_LENGTH = 255
LONGEST_WAIT_SECONDS = 30

# RFC 9110, section 8.8.3. Only our own strong tags can match; any other well-formed tag is simply not current.
_ENTITY_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_ENTITY_TAGS = re.compile(rf"[\s,]*{_ENTITY_TAG}(?:\s*,[\s,]*{_ENTITY_TAG})*[\s,]*")
_ONE_ENTITY_TAG = re.compile(_ENTITY_TAG)
# The version; with a "u" if only time has changed the response since (responses.etag). If-Match accepts both.
_OUR_TAG = re.compile(r'"(0|[1-9][0-9]{0,17})u?"')
# RFC 7240, section 2: commas separate preferences, except within quotation marks.
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
# RFC 9110, section 12.4.2.
_WEIGHT = re.compile(r"q\s*=\s*(0(?:\.[0-9]*)?|1(?:\.0*)?)")
_SECONDS = re.compile(r'(")?([0-9]+)(?(1)")')
# The document describes the header if it is sent; here, None means absent.
_TAGS = WithJsonSchema({"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'})
_KEY = WithJsonSchema(
    {"type": "string", "minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": r"^[\x20-\x7e]+$"}
)
Traceparent = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    Header(description="W3C trace context; copied to events and the response, or created if absent."),
]
IfMatch = Annotated[
    str | None,
    _TAGS,
    Header(
        description='Apply the change only if the version is one of these entity tags, such as `"7"`; otherwise 412.'
    ),
]
IfNoneMatch = Annotated[
    str | None,
    _TAGS,
    Header(description="Return 304 without a body if the version is one of these entity tags."),
]
IdempotencyKey = Annotated[
    str | None,
    _KEY,
    Header(
        description="A retry with the same key, caller and request gets the first response; the operation is executed once."
    ),
]


Prefer = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    Header(
        description="`wait=10`: wait at most 10 seconds, and never more than 30, for the delivery of the ticket (RFC 7240)."
    ),
]


class Headers:
    """The headers of a request, found by their names in lower case.

    Starlette scans all headers for each lookup, and a request makes a dozen lookups.
    """

    __slots__ = ("_raw", "_values")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._values = dict(raw)

    def getlist(self, name: str) -> list[str]:
        """Return every value of the header, as sent."""
        key = name.encode()
        if key not in self._values:
            return []
        if len(self._values) == len(self._raw):
            return [self._values[key].decode("latin-1")]
        return [value.decode("latin-1") for given, value in self._raw if given == key]

    def get(self, name: str) -> str | None:
        """Return the first value of the header, or None."""
        values = self.getlist(name)
        return values[0] if values else None

    def __contains__(self, name: str) -> bool:
        return name.encode() in self._values


def idempotency_key(headers: Headers) -> str | None:
    """Return the Idempotency-Key, or None. Raises Malformed."""
    keys = headers.getlist("idempotency-key")
    if not keys:
        return None
    if (
        len(keys) > 1
        or not 1 <= len(keys[0]) <= KEY_MAX_LENGTH
        or not (keys[0].isascii() and keys[0].isprintable())
    ):
        raise Malformed(
            f"Idempotency-Key must be 1 to {KEY_MAX_LENGTH} printable ASCII characters, given once."
        )
    return keys[0]


def preferred_wait(headers: Headers) -> int | None:
    """Return the number of seconds that the caller prefers to wait; None: no wait. An invalid number is ignored.

    The first one counts (RFC 7240, section 2).
    """
    for preference in _PREFERENCE.findall(",".join(headers.getlist("prefer"))):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = _SECONDS.fullmatch(value.strip())
            return min(int(seconds[2].lstrip("0")[:9] or "0"), LONGEST_WAIT_SECONDS) if seconds else None
    return None


def names_tag(headers: Headers, tag: str) -> bool:
    """Return whether If-None-Match names this entity tag, by weak comparison. Raises Malformed."""
    value = ",".join(headers.getlist("if-none-match"))
    if _versions(headers, "if-none-match") == "*":
        return True
    return tag in [given.removeprefix("W/") for given in _ONE_ENTITY_TAG.findall(value)]


def precondition(headers: Headers) -> Precondition:
    """Return the precondition in If-Match and If-None-Match. Raises Malformed."""
    return Precondition(_versions(headers, "if-match"), _versions(headers, "if-none-match"))


def _versions(headers: Headers, name: str) -> frozenset[int] | str | None:
    if name not in headers:
        return None
    value = ",".join(headers.getlist(name))
    if value.strip() == "*":
        return "*"
    if not _ENTITY_TAGS.fullmatch(value):
        raise Malformed(f'{name} must be "*" or a list of entity tags, such as "7".')
    tags = _ONE_ENTITY_TAG.findall(value)
    weak_too = name == "if-none-match"
    return frozenset(_version(tag.removeprefix("W/") if weak_too else tag) for tag in tags) - {-1}


def _version(tag: str) -> int:
    ours = _OUR_TAG.fullmatch(tag)
    return int(ours[1]) if ours else -1


def digest(*parts: str | bytes | None, key: bytes = b"") -> str:
    """Return the hex HMAC-SHA-256 of the parts, each framed by its length so that no two lists collide."""
    framed = b"".join(b"-1:" if part is None else _framed(part) for part in parts)
    return hmac.digest(key, framed, "sha256").hex()


def _framed(part: str | bytes) -> bytes:
    octets = part.encode() if isinstance(part, str) else part
    return b"%d:%b" % (len(octets), octets)


def is_json(headers: Headers) -> bool:
    """Return whether the body is declared as JSON in UTF-8, once and without an encoding (RFC 9110, section 8)."""
    content_types = headers.getlist("content-type")
    if len(content_types) != 1 or headers.get("content-encoding") not in (None, "identity"):
        return False
    media_type, *parameters = [part.strip().lower() for part in content_types[0].split(";")]
    return media_type == "application/json" and all(
        parameter in ("", "charset=utf-8", 'charset="utf-8"') for parameter in parameters
    )


def preferred_type(headers: Headers, media_types: Sequence[str]) -> str | None:
    """Return the media type that the caller prefers, the first among equals; None: the caller accepts none of them."""
    if "accept" not in headers:
        return media_types[0]
    accept = ",".join(headers.getlist("accept")).lower()
    if accept.strip() in ("", "*/*", media_types[0]):
        return media_types[0]
    qualities = {media_type: _quality(accept, media_type) for media_type in media_types}
    preferred = max(qualities, key=lambda media_type: qualities[media_type])
    return preferred if qualities[preferred] else None


def _quality(accept: str, media_type: str) -> float:
    """Return the quality of a media type; the most specific range decides (RFC 9110, section 12.5.1)."""
    ranges = {"*/*": 0, f"{media_type.partition('/')[0]}/*": 1, media_type: 2}
    best, quality = 0, 0.0
    for item in accept.split(","):
        media_range, *parameters = [part.strip() for part in item.split(";")]
        specificity = ranges.get(media_range, -1)
        if specificity >= best:
            best = specificity
            weights = (_WEIGHT.fullmatch(parameter) for parameter in parameters)
            quality = next((float(weight[1]) for weight in weights if weight), 1.0)
    return quality
