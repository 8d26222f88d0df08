"""The base of the tables: it runs statements on either store, with `?` for parameters."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class SqlTables(ABC):
    """Runs statements on a store. Raises StoreUnavailable."""

    def is_empty(self) -> bool:
        """Return whether nothing was ever stored."""
        return not self._fetch("SELECT 1 FROM recipients UNION ALL SELECT 1 FROM tickets LIMIT 1", ())

    def has_sealed(self) -> bool:
        """Return whether the store ever had a sealed value: a ticket or the secret of a subscription."""
        return bool(self._fetch("SELECT 1 FROM tickets UNION ALL SELECT 1 FROM subscriptions LIMIT 1", ()))

    @abstractmethod
    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Return the rows of a query."""

    @abstractmethod
    def _run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for each of these rows, in one transaction."""
