"""Pages in the shape of nevisIDM: `limit` and `continuationToken` in, `items` and `_pagination` out."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query
from pydantic import BaseModel, TypeAdapter, ValidationError, WithJsonSchema
from starlette.responses import Response

from application.shared.paging import PAGE_BYTES, Pagination
from application.shared.wire import to_json
from application.tickets.find_tickets import PageKey
from interface.http.core.call import Call, message_of
from interface.http.core.problems import Malformed

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
Item = TypeVar("Item")

Limit = Annotated[
    str | None,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
    Query(description="The maximum number of items of the page; a page of 1 MiB ends earlier."),
]
ContinuationToken = Annotated[
    str | None, WithJsonSchema({"type": "string"}), Query(description="From the previous page; opaque.")
]
DateFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(description="A date and time with its offset (RFC 3339)."),
]

MOST = 10**18 - 1  # below every store's 64 bits
POSITIVE = WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST})


@dataclass(frozen=True)
class WantedPage:
    """The requested page."""

    limit: int
    place: PageKey | None

    def next(self, place: PageKey | None) -> Pagination:
        """Return the pagination after a place; None: this page is the last."""
        token = None
        if place is not None:
            token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
        return Pagination(continuationToken=token, limit=self.limit)

    def after_number(self, last: int | None) -> Pagination:
        """Return the pagination after a numbered item; None: this page is the last."""
        return self.next(None if last is None else PageKey(str(last), ""))


def page(call: Call) -> WantedPage:
    """Return the requested page. Raises Malformed."""
    limit = single_param(call, "limit", str(DEFAULT_LIMIT))
    if not (
        limit.isascii()
        and limit.isdecimal()
        and 1 <= int(limit[:5]) <= MAX_LIMIT
        and len(limit) <= len("1000")
    ):
        raise Malformed(f"limit must be 1 to {MAX_LIMIT}.")
    token = single_param(call, "continuationToken", "")
    return WantedPage(int(limit), _place(token) if token else None)


def numbered_page(call: Call) -> tuple[WantedPage, int]:
    """Return the requested page, and the number that precedes it. Raises Malformed."""
    wanted = page(call)
    if wanted.place is None:
        return wanted, 0
    if not re.fullmatch(r"[0-9]{1,18}", wanted.place.value):
        raise Malformed("The continuationToken is invalid. Start again without it.")
    return wanted, int(wanted.place.value)


def numbered_page_response(wanted: WantedPage, items: list[Any], last: int | None) -> Response:
    """Return a page of numbered items; the next page begins after `last`, None: this is the last page."""
    content = {"items": items, "_pagination": wanted.after_number(last).model_dump()}
    return Response(to_json(content), media_type="application/json", headers={"Cache-Control": "no-store"})


def _json_size(item: BaseModel | Mapping[str, Any]) -> int:
    return len(to_json(item).encode())


def fitting(items: Iterable[Item], size_of: Callable[[Any], int] = _json_size) -> list[Item]:
    """Return the first items that fit into a page; at least one of them. size_of: in bytes."""
    size, found = 0, list[Item]()
    for item in items:
        size += size_of(item)
        if size > PAGE_BYTES and found:
            break
        found.append(item)
    return found


def single_param(call: Call, name: str, default: str) -> str:
    """Return a query parameter that may be given once. Raises Malformed."""
    given = call.query.get(name, ())
    if len(given) > 1:
        raise Malformed(f"{name} may be given only once.")
    return given[0] if given else default


def query_value(call: Call, name: str, kind: Any) -> Any:
    """Return a query parameter by its type, None if absent. Raises Malformed."""
    text = single_param(call, name, "")
    if name not in call.query:
        return None
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        raise Malformed(f"{name}: {message_of(error.errors(include_url=False)[0])}") from None


def integer_param(call: Call, name: str, least: int = 1, most: int = MOST) -> int | None:
    """Return an integer query parameter, None if absent. Raises Malformed."""
    text = single_param(call, name, "")
    if name not in call.query:
        return None
    if not (re.fullmatch(r"0|[1-9][0-9]{0,17}", text) and least <= int(text) <= most):
        raise Malformed(f"{name} must be an integer from {least} to {most}.")
    return int(text)


def page_response(found: BaseModel) -> Response:
    """Return a page."""
    content = found.model_dump_json(by_alias=True)
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


def _place(token: str) -> PageKey:
    """Return the place that a token of any list names. Raises Malformed.

    The decoder takes only two texts, so no nesting, number or lone surrogate can reach a use case.
    """
    try:
        octets = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        value, user_ext_id = msgspec.json.decode(octets, type=tuple[str, str])
    except ValueError:
        raise Malformed("The continuationToken is invalid. Start again without it.") from None
    if "\x00" in value + user_ext_id:
        raise Malformed("The continuationToken is invalid. Start again without it.")
    return PageKey(value, user_ext_id)
