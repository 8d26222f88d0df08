"""The types of the fields that several rooms share."""

from typing import Annotated, Any

from pydantic import StringConstraints, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from domain.shared.identifiers import ID_MAX_LENGTH

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
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
