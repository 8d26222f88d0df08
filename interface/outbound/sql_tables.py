"""Statements that are the same on both stores, with `?` where a parameter stands."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class SqlTables(ABC):
    """What a store gives to those who run such statements on it. Raises StoreUnavailable."""

    @abstractmethod
    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Return the rows of a query."""

    @abstractmethod
    def _run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for each of these rows, in one transaction."""
