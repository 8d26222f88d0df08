"""The schema of a store: its migrations, and the guard that checks which programs may use it.

Migration number n is the file migrations/<store>/<n>_<name>.sql; it brings a store from version n-1 to n. A released
migration never changes, and one after release 1.0.0 only adds (ADR 12). Every unique key begins with the client,
so that a store can be distributed by client later.
"""

import re
from collections.abc import Callable
from importlib.resources import files
from time import monotonic
from typing import NamedTuple

_COMMENT_LINE = re.compile(r"^--.*\n", re.MULTILINE)
# A body between $$ may contain semicolons.
_STATEMENT = re.compile(r"(?:\$\$.*?\$\$|[^;])+", re.DOTALL)


def _migrations(store: str) -> list[list[str]]:
    """Return the statements of each migration."""
    scripts = sorted((files(__package__) / "migrations" / store).iterdir(), key=lambda script: script.name)
    return [split_statements(script.read_text()) for script in scripts]


def split_statements(script: str) -> list[str]:
    """Return the statements of a migration, without its comment lines."""
    return [found.strip() for found in _STATEMENT.findall(_COMMENT_LINE.sub("", script)) if found.strip()]


SQLITE = _migrations("sqlite")
POSTGRES = _migrations("postgres")
EVENTS_TABLE = "ticket_events"
# The newest schema of each release, oldest first. Append a line when a release is made.
RELEASED_SQLITE = [6]
RELEASED_POSTGRES = [8]
_CHECK_INTERVAL_SECONDS = 1.0


class StoredSchema(NamedTuple):
    """The schema of a store.

    version: the number of its newest migration; 0 for an empty store.
    usable_from: the lowest schema version whose program may use the store.
    """

    version: int
    usable_from: int


class Migration(NamedTuple):
    """One step. usable_from: the lowest schema version whose program may use a store that has it (ADR 12)."""

    version: int
    statements: list[str]
    usable_from: int


def check_usable(stored: StoredSchema, newest: int) -> None:
    """Raise RuntimeError if a program whose newest schema is `newest` must not use the store."""
    if stored.version < newest:
        raise RuntimeError(
            f"the store has schema version {stored.version}, this program needs {newest}: run `tickets migrate`"
        )
    if stored.usable_from > newest:
        raise RuntimeError(
            f"the store has schema version {stored.version}, which needs a program with schema {stored.usable_from} or"
            f" later; this one has {newest}: upgrade the program"
        )


def fault(stored: StoredSchema, newest: int) -> str:
    """Return the reason why such a program must not use the store; empty: it may."""
    try:
        check_usable(stored, newest)
    except RuntimeError as error:
        return str(error)
    return ""


def pending(migrations: list[list[str]], released: list[int], stored: StoredSchema) -> list[Migration]:
    """Return the missing migrations of a store. Raises RuntimeError if its schema is too new."""
    if stored.version > len(migrations):
        check_usable(stored, len(migrations))
    return [
        Migration(version, statements, _usable_from(version, released))
        for version, statements in enumerate(migrations, start=1)
        if version > stored.version
    ]


def _usable_from(version: int, released: list[int]) -> int:
    """Return the newest schema of the release before the one that added this version.

    A schema before the first release is usable by its own program only.
    """
    return max((schema for schema in released if schema < version), default=version)


class SchemaGuard:
    """Checks on use, at most once a second, that the program may use the store's schema."""

    def __init__(self, newest: int) -> None:
        self._newest = newest
        self._checked_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the last check is a second ago."""
        return monotonic() - self._checked_at >= _CHECK_INTERVAL_SECONDS

    def check(self, read: Callable[[], StoredSchema]) -> None:
        """Raise RuntimeError if the schema that `read` returns is not usable."""
        now = monotonic()
        if self.is_due:
            check_usable(read(), self._newest)
            self._checked_at = now
