"""The base of the tables: it runs statements on either store, with `?` for parameters."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Mapper

from application.transaction.records import Changes
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.sql.table import Derived
from interface.outbound.sql.tables import Tables


class SqlTables(ABC):
    """Runs statements on a store, and stores events. Raises StoreUnavailable."""

    _tables: Tables
    _mapper: Mapper[UUID]

    @property
    def row_sealer(self) -> RowSealer | None:
        """The sealer of the rows; None: they are neither sealed nor checked."""
        return self._tables.sealer

    def commit_if_free(self, changes: Changes) -> bool:  # noqa: ARG002 - see the port
        """Return False, and store nothing: a commit waits for the database."""
        return False

    def is_empty(self) -> bool:
        """Return whether nothing was ever stored."""
        return not self._has_rows(records.name for records in self._tables.derived())

    def has_sealed(self) -> bool:
        """Return whether the store ever had a sealed value: a ticket or the secret of a subscription."""
        tables = self._tables.derived().items()
        return self._has_rows(
            records.name for records, derived in tables if isinstance(derived, Derived) and derived.seals
        )

    def _has_rows(self, names: Iterable[str]) -> bool:
        return any(self._fetch(f"SELECT 1 FROM {name} LIMIT 1", ()) for name in names)

    @abstractmethod
    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Return the rows of a query."""

    @abstractmethod
    def _run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for each of these rows, in one transaction."""
