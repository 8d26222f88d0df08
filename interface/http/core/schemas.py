"""Request bodies that several rooms share."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a date and time with its offset (RFC 3339), such as 2026-11-23T09:42:00Z")
    return value


def integral(value: object) -> object:
    """Return an integral float as an integer, and any other value unchanged, for pydantic to validate."""
    # In JSON, 7.0 is an integer; a string or a boolean is not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the date is out of range") from None


Date = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_to_utc)]


class StrictBody(BaseModel):
    """A request body that has the fields of its schema and no others."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
