"""Errors as problem details (RFC 9457): the only place that maps errors to statuses."""

import logging
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from application.shared.errors import ShareUsed, Unavailable
from application.shared.ports import Clock
from domain.shared.errors import Kind, Refusal
from interface.http.core.throttled_log import ThrottledLogger

MEDIA_TYPE = "application/problem+json"
# A limit of stored rows: the caller has to delete one first.
_FREED_AFTER_SECONDS = 60
_throttled_log = ThrottledLogger(logging.getLogger(__name__))


class HttpError(Exception):
    """A request that is refused before any use case runs. The message is for the caller."""

    headers: Mapping[str, str] = {}


class Malformed(HttpError):
    """The request does not match the OpenAPI document; `faults` has one message per fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Unauthenticated(HttpError):
    """The token is missing or not accepted."""

    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="tickets"'}


class InvalidToken(Unauthenticated):
    """A token that this service does not accept (RFC 6750, section 3.1). reason: a word for the metric."""

    def __init__(self, message: str, reason: str = "claims") -> None:
        super().__init__(message)
        self.reason = reason

    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="tickets", error="invalid_token"'}


class PermissionDenied(HttpError):
    """The caller's token lacks a permission."""


class ClientDenied(HttpError):
    """The caller's token does not name this client."""


class NoSuchPath(HttpError):
    """No resource exists at this path."""


class MethodNotAllowed(HttpError):
    """The path does not support the method."""

    def __init__(self, message: str, allowed: list[str]) -> None:
        super().__init__(message)
        self.headers = {"Allow": ", ".join(sorted(allowed))}


class NotAcceptable(HttpError):
    """The caller does not accept JSON."""


class BodyTooLarge(HttpError):
    """The body exceeds the size limit."""

    headers: Mapping[str, str] = {"Connection": "close"}


class TooManyRequests(HttpError):
    """The caller or the credential has reached a rate limit."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnsupportedMediaType(HttpError):
    """The body is not declared as JSON."""


class Status(NamedTuple):
    """The HTTP form of an error; `code` is that of nevisIDM."""

    status: int
    title: str
    code: str


PROBLEMS: dict[type[Exception] | Kind, Status] = {
    Malformed: Status(400, "The request is malformed", "errors.invalidData"),
    Kind.INVALID: Status(400, "The request is malformed", "errors.invalidData"),
    Unauthenticated: Status(401, "Authentication is needed", "errors.unauthenticated"),
    InvalidToken: Status(401, "Authentication is needed", "errors.unauthenticated"),
    PermissionDenied: Status(403, "Permission denied", "errors.permissionDenied"),
    ClientDenied: Status(403, "Permission denied", "errors.dataroomPermissionDenied"),
    NoSuchPath: Status(404, "Not found", "errors.noRecord"),
    Kind.NOT_FOUND: Status(404, "Not found", "errors.noRecord"),
    MethodNotAllowed: Status(405, "Method not allowed", "errors.methodNotAllowed"),
    NotAcceptable: Status(406, "Not acceptable", "errors.notAcceptable"),
    Kind.STALE_VERSION: Status(409, "The version is not the current one", "errors.optimisticLockingFailure"),
    Kind.CONFLICT: Status(409, "Conflict with the current state", "errors.conflict"),
    Kind.PRECONDITION: Status(412, "Precondition failed", "errors.optimisticLockingFailure"),
    BodyTooLarge: Status(413, "The body is too large", "errors.payloadTooLarge"),
    UnsupportedMediaType: Status(415, "Unsupported media type", "errors.unsupportedMediaType"),
    Kind.POLICY: Status(422, "Not possible", "errors.policyViolation"),
    Kind.TICKET_EXISTS: Status(422, "Not possible", "errors.ticketExists"),
    Kind.KEY_REUSED: Status(422, "Not possible", "errors.idempotencyKeyReused"),
    Kind.LIMIT: Status(429, "Too many requests", "errors.tooManyRequests"),
    TooManyRequests: Status(429, "Too many requests", "errors.tooManyRequests"),
    ShareUsed: Status(429, "Too many requests", "errors.tooManyRequests"),
    Unavailable: Status(503, "Temporarily unavailable", "errors.unavailable"),
}
INTERNAL = Status(500, "Internal error", "errors.fatalError")


class ErrorMessage(BaseModel):
    """One error, in the shape of nevisIDM."""

    code: Annotated[str, Field(examples=["errors.noRecord"])]
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    errors: Annotated[list[ErrorMessage], Field(min_length=1)]
    instance: Annotated[str | None, Field(description="Identifies this occurrence, also in the log.")] = None


def status_of(error: Exception) -> Status:
    """Return the HTTP form of an error. Raises KeyError if the table does not contain it."""
    match error:
        case Refusal():
            return PROBLEMS[error.KIND]
        case Unavailable():
            return PROBLEMS[Unavailable]
        case _:
            return PROBLEMS[type(error)]


def problem_response(error: Exception, clock: Clock | None = None) -> Response:
    """Return the response to an error. Raises KeyError if the table does not contain it.

    clock: of the service, for a refusal that ends at a time; None: the error is no refusal of a command.
    """
    kind = status_of(error)
    messages = error.faults if isinstance(error, Malformed) else tuple(str(error).split("\n"))
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    if seconds := _retry_after_seconds(error, clock):
        headers["Retry-After"] = str(seconds)
    if isinstance(error, Unavailable):
        # Internal faults are for the operator only.
        _throttled_log(type(error).__name__, f"responded with 503: {error}")
        messages = (
            "The service is temporarily unavailable. Retry later, with the same Idempotency-Key if the request had one.",
        )
    return _respond(kind, messages, headers)


def _retry_after_seconds(error: Exception, clock: Clock | None) -> int | None:
    """Return the seconds after which a retry can succeed; None: only another request can."""
    match error:
        case TooManyRequests() | ShareUsed() | Unavailable():
            return error.retry_after_seconds
        case Refusal(KIND=Kind.LIMIT, retry_from=datetime() as retry_from) if clock:
            return max(1, math.ceil((retry_from - clock()).total_seconds()))
        case Refusal(KIND=Kind.LIMIT):
            return _FREED_AFTER_SECONDS
    return None


def internal_error_response(instance: str) -> Response:
    """Return the response to an internal fault: the id of its log entry, without internals."""
    return _respond(INTERNAL, ("Internal error. Report this id to the operator.",), {}, instance)


def _respond(
    kind: Status, messages: tuple[str, ...], headers: Mapping[str, str], instance: str | None = None
) -> Response:
    problem = Problem(
        title=kind.title,
        status=kind.status,
        detail=" ".join(messages),
        errors=[ErrorMessage(code=kind.code, message=message) for message in messages],
        instance=instance,
    )
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(
        content, kind.status, headers={"Cache-Control": "no-store", **headers}, media_type=MEDIA_TYPE
    )
