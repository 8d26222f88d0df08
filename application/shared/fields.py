"""The types of the fields that several rooms share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    StringConstraints,
    ValidationError,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from domain.shared.identifiers import ID_MAX_LENGTH

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PRINTABLE_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"


def mismatch(message: str) -> WrapValidator:
    """Return the validator that reports a text that does not match the pattern by a sentence, not by the pattern."""

    def check(value: Any, validate: Any) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            if any(fault["type"] == "string_pattern_mismatch" for fault in error.errors()):
                raise PydanticCustomError("pattern", message) from None
            raise

    return WrapValidator(check)


NO_CONTROL_CHARACTERS = mismatch("must not contain control characters")
Comment = Annotated[str, StringConstraints(max_length=1000, pattern=_PRINTABLE_LINES), NO_CONTROL_CHARACTERS]
# Of an id outside the path, which may be a dot segment.
ExtId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ID_MAX_LENGTH, pattern=PRINTABLE),
    NO_CONTROL_CHARACTERS,
]


def integral(value: object) -> object:
    """Return an integral float as an integer, and any other value unchanged, for pydantic to validate."""
    # In JSON, 7.0 is an integer; a string or a boolean is not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a date and time with its offset (RFC 3339), such as 2026-11-23T09:42:00Z")
    return value


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the date is out of range") from None


Date = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_to_utc)]
