"""Errors to problem details (RFC 9457): the one table that knows a status, and nothing else does."""

import logging
from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from application.shared import errors as application
from domain.shared import errors as domain
from interface.http.core.seldom import Seldom

MEDIA_TYPE = "application/problem+json"
_log_seldom = Seldom(logging.getLogger(__name__))


class HttpError(Exception):
    """A request that HTTP itself refuses, before any use case sees it. The message is written for the caller."""

    headers: Mapping[str, str] = {}


class Malformed(HttpError):
    """The request is not what the OpenAPI document describes; `faults` says what, one message each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Unauthenticated(HttpError):
    """No token, or none that this service accepts."""

    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="tickets"'}


class InvalidToken(Unauthenticated):
    """A token that this service does not accept (RFC 6750, section 3.1)."""

    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="tickets", error="invalid_token"'}


class KeysUnavailable(application.Unavailable):
    """The key set that verifies tokens cannot be fetched now."""


class PermissionDenied(HttpError):
    """The caller's token lacks a permission."""


class ClientDenied(HttpError):
    """The caller's token does not name this client."""


class NoSuchPath(HttpError):
    """Nothing is served under this path."""


class MethodNotAllowed(HttpError):
    """The path exists, the method on it does not."""

    def __init__(self, message: str, allowed: list[str]) -> None:
        super().__init__(message)
        self.headers = {"Allow": ", ".join(sorted(allowed))}


class NotAcceptable(HttpError):
    """The caller accepts no JSON."""


class BodyTooLarge(HttpError):
    """The body is larger than the service reads."""

    headers: Mapping[str, str] = {"Connection": "close"}


class TooManyRequests(HttpError):
    """More of these requests than one caller or credential may have."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after_seconds)}


class UnsupportedMediaType(HttpError):
    """The body is not declared as JSON."""


class Kind(NamedTuple):
    """What an error is in HTTP; `code` is what clients of the sibling product know."""

    status: int
    title: str
    code: str


PROBLEMS: dict[type[Exception], Kind] = {
    Malformed: Kind(400, "The request is malformed", "errors.invalidData"),
    domain.ValidityImpossible: Kind(400, "The request is malformed", "errors.invalidData"),
    Unauthenticated: Kind(401, "Authentication is needed", "errors.unauthenticated"),
    InvalidToken: Kind(401, "Authentication is needed", "errors.unauthenticated"),
    PermissionDenied: Kind(403, "Permission denied", "errors.permissionDenied"),
    ClientDenied: Kind(403, "Permission denied", "errors.dataroomPermissionDenied"),
    NoSuchPath: Kind(404, "Not found", "errors.noRecord"),
    application.UserUnknown: Kind(404, "Not found", "errors.noRecord"),
    application.TicketUnknown: Kind(404, "Not found", "errors.noRecord"),
    application.PositionUnknown: Kind(404, "Not found", "errors.noRecord"),
    application.SubscriptionUnknown: Kind(404, "Not found", "errors.noRecord"),
    MethodNotAllowed: Kind(405, "Method not allowed", "errors.methodNotAllowed"),
    NotAcceptable: Kind(406, "Not acceptable", "errors.notAcceptable"),
    application.PolicyNotFound: Kind(404, "Not found", "errors.noRecord"),
    application.StaleVersion: Kind(
        409, "The version is not the current one", "errors.optimisticLockingFailure"
    ),
    application.PreconditionFailed: Kind(412, "Precondition failed", "errors.optimisticLockingFailure"),
    BodyTooLarge: Kind(413, "The body is too large", "errors.payloadTooLarge"),
    UnsupportedMediaType: Kind(415, "Unsupported media type", "errors.unsupportedMediaType"),
    domain.CredentialDisabled: Kind(422, "Not possible", "errors.policyViolation"),
    domain.CredentialArchived: Kind(422, "Not possible", "errors.policyViolation"),
    domain.CredentialFinal: Kind(422, "Not possible", "errors.policyViolation"),
    domain.PolicyFaulty: Kind(422, "Not possible", "errors.policyViolation"),
    application.PolicyUnknown: Kind(422, "Not possible", "errors.policyViolation"),
    application.TooManySubscriptions: Kind(422, "Not possible", "errors.policyViolation"),
    application.TargetRefused: Kind(422, "Not possible", "errors.policyViolation"),
    application.TicketExists: Kind(422, "Not possible", "errors.ticketExists"),
    application.IdempotencyKeyReused: Kind(422, "Not possible", "errors.idempotencyKeyReused"),
    TooManyRequests: Kind(429, "Too many requests", "errors.tooManyRequests"),
    application.StoreUnavailable: Kind(503, "Unavailable for now", "errors.unavailable"),
    application.LaterRelease: Kind(503, "Unavailable for now", "errors.unavailable"),
    application.KeyMissing: Kind(503, "Unavailable for now", "errors.unavailable"),
    KeysUnavailable: Kind(503, "Unavailable for now", "errors.unavailable"),
    application.Overloaded: Kind(503, "Unavailable for now", "errors.unavailable"),
}
INTERNAL = Kind(500, "Internal error", "errors.fatalError")


class ErrorMessage(BaseModel):
    """One error, in the shape that clients of the sibling product read."""

    code: Annotated[str, Field(examples=["errors.noRecord"])]
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    errors: Annotated[list[ErrorMessage], Field(min_length=1)]
    instance: Annotated[str | None, Field(description="Names this occurrence; the log has it too.")] = None


def problem_response(error: Exception) -> Response:
    """Return the response to an error of the table. Raises KeyError for any other."""
    kind = PROBLEMS[type(error)]
    messages = error.faults if isinstance(error, Malformed) else tuple(str(error).split("\n"))
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    if isinstance(error, application.Unavailable):
        # What failed inside is the operator's to know.
        _log_seldom(type(error).__name__, f"answered with 503: {error}")
        messages = ("The service cannot take this now. Try again, with the same Idempotency-Key.",)
        headers["Retry-After"] = str(error.retry_after_seconds)
    return _respond(kind, messages, headers)


def internal_error_response(instance: str) -> Response:
    """Return the response to a fault of ours, with the id under which the log has the rest, and no internals."""
    return _respond(
        INTERNAL, ("Something went wrong here. Give this id to those who run the service.",), {}, instance
    )


def _respond(
    kind: Kind, messages: tuple[str, ...], headers: Mapping[str, str], instance: str | None = None
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
