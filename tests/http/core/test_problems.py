from collections.abc import Iterator

from application.shared.errors import Unavailable
from domain.shared.errors import Refusal
from interface.http.core.problems import PROBLEMS, HttpError, Status, status_of


def all_kinds_of(error: type[Exception]) -> Iterator[type[Exception]]:
    for kind in error.__subclasses__():
        yield kind
        yield from all_kinds_of(kind)


def test_every_error_is_in_the_table() -> None:
    errors = {kind for base in (Refusal, Unavailable, HttpError) for kind in all_kinds_of(base)}

    assert {status_of(error.__new__(error)) for error in errors} == set(PROBLEMS.values())


def test_codes_are_those_of_the_contract() -> None:
    assert {
        (kind.status, kind.code)
        for kind in PROBLEMS.values()
        if kind.status not in (405, 406, 413, 415, 429, 503)
    } == {
        (400, "errors.invalidData"),
        (401, "errors.unauthenticated"),
        (403, "errors.permissionDenied"),
        (403, "errors.dataroomPermissionDenied"),
        (404, "errors.noRecord"),
        (409, "errors.optimisticLockingFailure"),
        (409, "errors.conflict"),
        (412, "errors.optimisticLockingFailure"),
        (422, "errors.policyViolation"),
        (422, "errors.ticketExists"),
        (422, "errors.idempotencyKeyReused"),
    }
    assert all(isinstance(kind, Status) and kind.code.startswith("errors.") for kind in PROBLEMS.values())
