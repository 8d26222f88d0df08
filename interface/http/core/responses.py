"""Responses that several rooms send."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from application.shared.wire import to_json
from application.transaction.command import Answer
from interface.http.core.call import Call
from interface.http.core.headers import names_tag


def etag(version: int, *, changed_by_time: bool = False) -> str:
    """Return the strong entity tag of a version; a different one if only time has changed the response."""
    return f'"{version}u"' if changed_by_time else f'"{version}"'


def json_response(answer: Answer, status: int = 200, **headers: str) -> Response:
    """Return the response with the answer of a successful command."""
    if answer.version is not None:
        headers["ETag"] = etag(answer.version)
    return Response(answer.body, status, {"Cache-Control": "no-store", **headers}, "application/json")


def found(
    call: Call, response: BaseModel | Mapping[str, Any], version: int, *, changed_by_time: bool = False
) -> Response:
    """Return the response to a GET: 304 without a body if the caller already has this state."""
    tag = etag(version, changed_by_time=changed_by_time)
    headers = {"ETag": tag, "Cache-Control": "no-store"}
    if names_tag(call.headers, tag):
        return Response(status_code=304, headers=headers)
    return Response(to_json(response), 200, headers, "application/json")


def no_content() -> Response:
    """Return the response without content to a successful operation."""
    return Response(status_code=204, headers={"Cache-Control": "no-store"})
