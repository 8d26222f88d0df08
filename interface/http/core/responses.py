"""Responses that several rooms send."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from application.shared.wire import to_json
from application.transaction.command import Answer
from interface.http.core.call import Call
from interface.http.core.headers import names_tag


class DataResponse(Response):
    """A response whose content is complete: headers in lower case, encoded directly.

    Starlette makes the same one from a mapping of any headers, which costs several times as much.
    """

    def __init__(
        self,
        content: bytes,
        headers: Mapping[str, str],
        status: int = 200,
        media_type: str = "application/json",
    ) -> None:
        self.status_code, self.body, self.background = status, content, None
        self.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        self.raw_headers += [
            (b"content-length", b"%d" % len(content)),
            (b"content-type", media_type.encode()),
        ]


def etag(version: int, *, changed_by_time: bool = False) -> str:
    """Return the strong entity tag of a version; a different one if only time has changed the response."""
    return f'"{version}u"' if changed_by_time else f'"{version}"'


def json_response(answer: Answer, status: int = 200, **headers: str) -> Response:
    """Return the response with the answer of a successful command."""
    if answer.version is not None:
        headers["ETag"] = etag(answer.version)
    sent = {"cache-control": "no-store", **{name.lower(): value for name, value in headers.items()}}
    return DataResponse((answer.body or "").encode(), sent, status)


def found(
    call: Call, response: BaseModel | Mapping[str, Any], version: int, *, changed_by_time: bool = False
) -> Response:
    """Return the response to a GET: 304 without a body if the caller already has this state."""
    tag = etag(version, changed_by_time=changed_by_time)
    headers = {"etag": tag, "cache-control": "no-store"}
    if names_tag(call.headers, tag):
        return Response(status_code=304, headers=headers)
    return DataResponse(to_json(response).encode(), headers)


def no_content() -> Response:
    """Return the response without content to a successful operation."""
    return Response(status_code=204, headers={"Cache-Control": "no-store"})
