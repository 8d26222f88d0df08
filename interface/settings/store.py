"""The database, and the queue of commands before it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from application.shared.fields import mismatch
from interface.lazy import lazy
from interface.settings.base import Group

if TYPE_CHECKING:
    import psycopg

    from interface.outbound.sql import postgres_connections
else:
    psycopg, postgres_connections = lazy("psycopg"), lazy("interface.outbound.sql.postgres_connections")


class StoreSettings(Group):
    """The database, and the queue of commands before it."""

    database_url: Annotated[
        str, Field(description="`sqlite:///PATH`, or `postgresql://…` in the libpq format")
    ] = "sqlite:///var/tickets.db"
    read_database_url: Annotated[
        str | None,
        Field(
            pattern="^postgres(ql)?://",
            description="PostgreSQL standby for reads that may lag by seconds: search, histories, feed",
        ),
        mismatch("must be postgresql://… in the libpq format"),
    ] = None
    migrate_at_start: Annotated[
        bool,
        Field(
            description="migrate PostgreSQL at the start instead of by `tickets migrate`; SQLite always migrates at the start"
        ),
    ] = False
    row_seals: Annotated[
        Literal["automatic", "required"],
        Field(
            description="`required`: refuse every row without a valid seal, also if table `row_seals` was changed; only for a store"
            " that this release created, or after `tickets jobs seal --finish`"
        ),
    ] = "automatic"
    max_waiting: Annotated[
        int, Field(ge=1, description="maximum number of queued commands; beyond it, callers get a 503")
    ] = 2048
    max_batch: Annotated[
        int, Field(ge=1, le=1024, description="maximum number of commands per transaction")
    ] = 128

    @field_validator("database_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql://", "postgres://")) or url == "sqlite:///":
            raise ValueError("must be sqlite:///PATH or postgresql://…")
        return url

    @field_validator("read_database_url")
    @classmethod
    def _known_standby(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            postgres_connections.connection_options(url)
        except psycopg.ProgrammingError as error:
            raise ValueError(str(error)) from None
        return url

    @model_validator(mode="after")
    def _standby_of_a_server(self) -> Self:
        if self.read_database_url and self.sqlite_path:
            raise ValueError("TICKETS_READ_DATABASE_URL requires PostgreSQL: SQLite has no standby")
        return self

    @property
    def sqlite_path(self) -> Path | None:
        """Return the path of the SQLite file, or None for PostgreSQL."""
        url = self.database_url
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
