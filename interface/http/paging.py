"""Pages in the sibling's shape: `limit` and `continuationToken` in, `items` and `_pagination` out."""

import base64
import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BaseModel, TypeAdapter, ValidationError, WithJsonSchema
from starlette.responses import Response

from application.fields import ExtId
from application.find import Pagination
from application.ports import Place
from domain.states import State
from interface.http.problems import Malformed

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

Limit = Annotated[
    str | None,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
    Query(description="How many items a page has at most."),
]
ContinuationToken = Annotated[
    str | None, WithJsonSchema({"type": "string"}), Query(description="From the page before; opaque.")
]
StateName = Annotated[
    str | None, WithJsonSchema({"type": "string", "enum": list(State)}), Query(description="The state now.")
]
PolicyFilter = Annotated[
    str | None,
    WithJsonSchema(TypeAdapter(ExtId).json_schema()),
    Query(description="The policy of the ticket."),
]
DateFilter = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Query(description="A date and time with its offset (RFC 3339)."),
]


@dataclass(frozen=True)
class WantedPage:
    """Which page is asked for."""

    limit: int
    place: Place | None

    def next(self, place: Place | None) -> Pagination:
        """Return how to go on after a place; None: this page is the last."""
        token = None
        if place is not None:
            token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
        return Pagination(continuationToken=token, limit=self.limit)


def page(request: Request) -> WantedPage:
    """Return which page is asked for. Raises Malformed."""
    limit = one(request, "limit", str(DEFAULT_LIMIT))
    if not (
        limit.isascii()
        and limit.isdecimal()
        and 1 <= int(limit[:5]) <= MAX_LIMIT
        and len(limit) <= len("1000")
    ):
        raise Malformed(f"limit must be 1 to {MAX_LIMIT}.")
    token = one(request, "continuationToken", "")
    return WantedPage(int(limit), _place(token) if token else None)


def one(request: Request, name: str, default: str) -> str:
    """Return a query parameter that may be given once. Raises Malformed."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise Malformed(f"{name} is given twice.")
    return given[0] if given else default


def query_value(request: Request, name: str, kind: Any) -> Any:
    """Return a query parameter by its type, None where it is absent. Raises Malformed."""
    text = one(request, name, "")
    if name not in request.query_params:
        return None
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        raise Malformed(f"{name}: {error.errors(include_url=False)[0]['msg']}") from None


def page_response(found: BaseModel) -> Response:
    """Return a page."""
    content = found.model_dump_json(by_alias=True)
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


def _place(token: str) -> Place:
    try:
        value, user_ext_id = json.loads(
            base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        )
    except (ValueError, TypeError):
        raise Malformed("continuationToken is none that this service gave.") from None
    if not (isinstance(value, str) and isinstance(user_ext_id, str)) or "\x00" in value + user_ext_id:
        raise Malformed("continuationToken is none that this service gave.")
    return Place(value, user_ext_id)
