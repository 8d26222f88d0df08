"""Pages of a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")
# A page ends before it is larger, unless its first item is.
PAGE_BYTES = 2**20


class Pagination(BaseModel):
    """The link to the next page."""

    continuationToken: Annotated[
        str | None, Field(description="Token of the next page; null on the last page.")
    ]
    limit: int


class Page(BaseModel, Generic[Item]):
    """A page of a list."""

    model_config = ConfigDict(populate_by_name=True)

    items: list[Item]
    pagination: Annotated[Pagination, Field(alias="_pagination")]


@dataclass(frozen=True)
class Results(Generic[Item]):
    """The items found, and whether more items follow."""

    items: Sequence[Item]
    more: bool
