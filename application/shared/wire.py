"""The format of values in requests and responses: names, dates, counts, JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BaseModel, Field
from pydantic.alias_generators import to_camel

Value = TypeVar("Value")
_encode = msgspec.json.Encoder().encode
UtcDate = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T09:42:00Z"])]
Count = Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int32"})]


def utc_date(moment: datetime | None) -> str | None:
    """Return an aware UTC time in the format of responses, without fractions: `2026-11-23T09:42:00Z`."""
    # msgspec writes a time in quotes, in a sixth of the time that isoformat takes.
    return None if moment is None else _encode(moment)[1:20].decode() + "Z"


def utc_instant(moment: datetime) -> str:
    """Return an aware UTC time with microseconds: `2026-11-23T09:42:00.000000Z`."""
    text = _encode(moment).decode()  # in a fifth of the time that isoformat takes
    return text[1:-1] if moment.microsecond else f"{text[1:20]}.000000Z"


def to_json(response: BaseModel | Mapping[str, Any]) -> str:
    """Return a response as JSON text, without blanks."""
    # The test for a dict is cheap; that for a model is not.
    if isinstance(response, dict) or not isinstance(response, BaseModel):
        return _encode(response).decode()
    return response.model_dump_json(by_alias=True)


@cache
def _camel_case_names(kind: Any) -> Sequence[tuple[str, str]]:
    return [(field.name, to_camel(field.name)) for field in fields(kind)]


def camel_case_fields(
    value: type, *, required: bool = False, types: Mapping[Any, Any] | None = None
) -> dict[str, Any]:
    """Return the fields of a dataclass in camel case, as arguments of pydantic's create_model.

    required: without defaults. types: replacements of types. The metadata of a field may have its `description`.
    """
    return {
        to_camel(field.name): (
            Annotated[
                (types or {}).get(field.type, field.type),
                Field(description=field.metadata.get("description")),
            ],
            ... if required else field.default,
        )
        for field in fields(value)
    }


def to_camel_case(value: Any) -> dict[str, Any]:
    """Return the values of a dataclass by the names of its fields in camel case."""
    return {shown: getattr(value, name) for name, shown in _camel_case_names(value.__class__)}


def from_camel_case(kind: type[Value], model: BaseModel) -> Value:
    """Return the dataclass whose fields in camel case the model has."""
    return kind(**{field.name: getattr(model, to_camel(field.name)) for field in fields(kind)})  # type: ignore[arg-type]
