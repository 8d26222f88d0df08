"""The format of values in responses: dates, counts, JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field

UtcDate = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T09:42:00Z"])]
Count = Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int32"})]


def utc_date(moment: datetime | None) -> str | None:
    """Return an aware UTC time in the format of responses, without fractions: `2026-11-23T09:42:00Z`."""
    return None if moment is None else moment.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def to_json(response: BaseModel | Mapping[str, Any]) -> str:
    """Return a response as JSON text, without blanks."""
    if isinstance(response, BaseModel):
        return response.model_dump_json(by_alias=True)
    return msgspec.json.encode(response).decode()
