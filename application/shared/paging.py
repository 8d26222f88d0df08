"""Pages of a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Pagination(BaseModel):
    """How to go on."""

    continuationToken: Annotated[str | None, Field(description="Gets the next page; null on the last one.")]
    limit: int


class Page(BaseModel, Generic[Item]):
    """A page, in the sibling's shape."""

    model_config = ConfigDict(populate_by_name=True)

    items: list[Item]
    pagination: Annotated[Pagination, Field(alias="_pagination")]


@dataclass(frozen=True)
class Results(Generic[Item]):
    """What was found, and whether there is more after its last."""

    items: Sequence[Item]
    more: bool
