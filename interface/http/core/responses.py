"""Responses that several rooms send."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from application.shared.wire import to_json
from application.transaction.command import Answer
from interface.http.core.call import Call
from interface.http.core.headers import names_tag


class JsonResponse(Response):
    """A response with a complete JSON text, not to be stored by caches. headers: further ones, in lower case.

    Starlette encodes any mapping of headers, and searches it for those that it adds, which costs several times as much.
    """

    def __init__(self, content: str, headers: Iterable[tuple[bytes, bytes]] = (), status: int = 200) -> None:
        self.status_code, self.body, self.background = status, content.encode(), None
        self.raw_headers = [
            (b"cache-control", b"no-store"),
            *headers,
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]


def etag(version: int, *, changed_by_time: bool = False) -> str:
    """Return the strong entity tag of a version; a different one if only time has changed the response."""
    return f'"{version}u"' if changed_by_time else f'"{version}"'


def json_response(answer: Answer, status: int = 200, **headers: str) -> Response:
    """Return the response with the answer of a successful command."""
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if answer.version is not None:
        sent.append((b"etag", etag(answer.version).encode()))
    return JsonResponse(answer.body, sent, status)


def found(
    call: Call, response: BaseModel | Mapping[str, Any], version: int, *, changed_by_time: bool = False
) -> Response:
    """Return the response to a GET: 304 without a body if the caller already has this state."""
    tag = etag(version, changed_by_time=changed_by_time)
    if names_tag(call.headers, tag):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-store"})
    return JsonResponse(to_json(response), [(b"etag", tag.encode())])


def no_content() -> Response:
    """Return the response without content to a successful operation."""
    return Response(status_code=204, headers={"Cache-Control": "no-store"})
