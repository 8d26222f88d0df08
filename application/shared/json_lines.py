"""The rows of a file of JSON lines (NDJSON) in UTF-8, read in a stream, with at most one row and one chunk in memory."""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
ROW_LIMIT = 64 * 1024
"""The maximum length of a row in bytes."""


class RowFault(Exception):
    """A row breaks a rule."""


class JsonLine(NamedTuple):
    """A row. line: its number, from 1. content: None if it is too long."""

    line: int
    content: bytes | None


def json_lines(chunks: Iterable[bytes]) -> Iterator[JsonLine]:
    """Yield each row except blank ones."""
    number, rest, is_long = 1, b"", False
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        # A row that is too long is counted and not kept.
        is_long = is_long or len(rest) + len(first) > ROW_LIMIT
        rest = b"" if is_long else rest + first
        for following in others:
            if is_long or rest.strip():
                yield JsonLine(number, None if is_long else rest)
            number, rest, is_long = number + 1, following, len(following) > ROW_LIMIT
    if is_long or rest.strip():
        yield JsonLine(number, None if is_long else rest)


def parsed(row: JsonLine, schema: type[Model]) -> Model:
    """Return the row, validated. Raises RowFault."""
    if row.content is None:
        raise RowFault(f"the row has over {ROW_LIMIT} bytes")
    try:
        _decode(row.content.decode())
        return schema.model_validate_json(row.content)
    except ValidationError as error:
        raise RowFault("; ".join(_fault(fault) for fault in error.errors(include_url=False))) from None
    except (ValueError, RecursionError) as error:
        raise RowFault(f"not JSON in UTF-8: {error}") from None


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RowFault("a field is named twice")
    return found


_decode = json.JSONDecoder(object_pairs_hook=_unique_names).decode


def _fault(fault: object) -> str:
    where, message = ".".join(map(str, fault["loc"])), fault["msg"]  # type: ignore[index]
    return f"{where}: {message}".removeprefix(": ").replace("Value error, ", "")
