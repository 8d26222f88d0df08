"""The service without an edge; HTTP and the command line drive it."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from application.operations.clock_watch import ClockWatch
from application.shared.errors import Unavailable
from application.transaction.group_commit import Background, GroupCommit
from application.transaction.records import Changes, RecordSet
from interface.composition.register import TABLES, HandlerContext, handlers
from interface.lazy import lazy
from interface.outbound.keys.aes_gcm_sealer import AesGcmSealer
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.outbound.keys.outbox_keys import OutboxKeyFile, outbox_keys_of, parse_outbox_keys
from interface.outbound.keys.private_files import (
    listable_by_others,
    readable_by_others,
    writable_by_others,
    writable_directories,
)
from interface.outbound.keys.row_sealer import RowSealer
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.sql.sqlite_store import SqliteStore
from interface.outbound.sql.sqlite_store import schema_version_at as sqlite_version_at
from interface.outbound.system import SystemRandomness, system_clock
from interface.settings import PREFIX, InvalidSettings, Settings
from interface.telemetry.logs import log_to_stderr

if TYPE_CHECKING:
    from interface.outbound.sql import postgres_store, standby_reads
    from interface.outbound.sql.postgres_store import PostgresStore
else:
    postgres_store = lazy("interface.outbound.sql.postgres_store")
    standby_reads = lazy("interface.outbound.sql.standby_reads")


@dataclass(frozen=True)
class RunningService:
    """The service without an edge; HTTP and the command line drive it.

    reads: the store for reads that may lag slightly: the standby, if there is one; it connects on first use.
    """

    settings: Settings
    store: "SqliteStore | PostgresStore"
    reads: "SqliteStore | PostgresStore"
    commands: GroupCommit
    listeners: "CommitListeners"
    keys: LedgerKeys
    outbox_keys: Callable[[], Sequence[bytes]]
    sealer: AesGcmSealer
    set_keys: SetKeys

    def close(self) -> None:
        """Close the stores. The commands must be closed before."""
        if self.reads is not self.store:
            self.reads.close()
        self.store.close()

    def digest_keys(self, *, newest: bool) -> Sequence[bytes]:
        """Return the keys of the request digests, the current one first.

        newest: look at their file, since another process may have answered the request under a new key.
        """
        keys = self.outbox_keys
        return _digest_keys(*(keys.current() if newest and isinstance(keys, OutboxKeyFile) else keys()))


class CommitListeners:
    """Post-commit listeners, called on the event loop of the commands."""

    def __init__(self) -> None:
        self.clock = ClockWatch()
        self.callers: Callable[[Changes], None] = lambda _: None
        self._by_records: dict[RecordSet[Any, Any], Callable[[], None]] = {}

    def register(self, listener: Callable[[], None], *records: RecordSet[Any, Any]) -> None:
        """Call the listener after each commit that changes rows of these record sets."""
        self._by_records.update(dict.fromkeys(records, listener))

    def __call__(self, changes: Changes) -> None:
        """Call the listeners, each once."""
        self.clock(changes)
        self.callers(changes)
        for listener in {
            self._by_records[records] for records in changes.rows if records in self._by_records
        }:
            listener()


def key_files(settings: Settings) -> Sequence[Path]:
    """Return the key files that a running server needs."""
    files: list[Path] = []
    if not (settings.outbox_key or settings.outbox_key_command):
        files.append(settings.outbox_key_file)
    if not (settings.jwks_url or settings.jwks_file):
        files.append(settings.token_key_file)
    return files


def secret_files(settings: Settings) -> Sequence[Path]:
    """Return the files that only the service may read."""
    files = [*key_files(settings), settings.set_key_file, *settings.ledger_key_dir.glob("*.pem")]
    if settings.secrets_dir:
        files += [path for path in settings.secrets_dir.glob("*") if path.name.upper().startswith(PREFIX)]
    return [*files, *filter(None, [settings.sqlite_path, settings.tls_key_file])]


def trusted_files(settings: Settings) -> Sequence[Path]:
    """Return the files that others may read but not replace: their content determines which peers are trusted."""
    files = (
        settings.delivery_webhook_key_file,
        settings.jwks_file,
        settings.smtp_ca_file,
        settings.checkpoint_tsa_ca_file,
    )
    found = [path for path in files if path]
    if settings.template_dir:
        found += [settings.template_dir, *settings.template_dir.rglob("*")]
    return found


def open_files(settings: Settings) -> Sequence[str]:
    """Return a message with a remedy for each file that others must not access but can."""
    written = [settings.letter_dir, *([] if settings.smtp_url else [settings.mail_dir])]
    found = [
        *readable_by_others(secret_files(settings)),
        *writable_by_others(trusted_files(settings)),
        *writable_directories(written),
    ]
    return list(dict.fromkeys(found))


def listable_directories() -> Sequence[str]:
    """Return a message with a remedy if others can list the directory of the default paths.

    The service does not change its mode: other programs may use a directory that has existed before.
    """
    return list(listable_by_others(Path("var")))


def start(settings: Settings, *, with_outbox: bool = True, make_lost_key: bool = False) -> RunningService:
    """Start the service. Raises InvalidSettings if a key or the store cannot be used, or others can read it.

    with_outbox: the process seals or opens tickets; otherwise the outbox key is not required.
    make_lost_key: create a new key even if the store contains secrets sealed with the lost one.
    """
    if faults := open_files(settings):
        raise InvalidSettings("; ".join(faults))
    try:
        keys = ledger_keys(settings)
        set_keys = SetKeys(settings.set_key_file)
        store = open_store(settings)
    except (OSError, ValueError, Unavailable) as error:
        raise InvalidSettings(str(error)) from error
    try:
        check = (lambda: None) if make_lost_key else partial(_check_key_not_lost, settings, store)
        keys_of_outbox = outbox_keys(settings, check)
        if with_outbox:
            keys_of_outbox()
    except (OSError, ValueError, Unavailable) as error:
        store.close()
        raise InvalidSettings(str(error)) from error
    current = keys_of_outbox.current if isinstance(keys_of_outbox, OutboxKeyFile) else None
    sealer, listeners = AesGcmSealer(keys_of_outbox, current), CommitListeners()
    context = HandlerContext(system_clock, SystemRandomness(), sealer, settings)
    commands = GroupCommit(
        store,
        handlers(context),
        context.randomness,
        after_commit=listeners,
        max_waiting=settings.max_waiting,
        max_batch=settings.max_batch,
    )
    return RunningService(
        settings=settings,
        store=store,
        reads=_reads_of(settings, store),
        commands=commands,
        listeners=listeners,
        keys=keys,
        outbox_keys=keys_of_outbox,
        sealer=sealer,
        set_keys=set_keys,
    )


def _reads_of(settings: Settings, store: "SqliteStore | PostgresStore") -> "SqliteStore | PostgresStore":
    url = settings.read_database_url
    if url is None or isinstance(store, SqliteStore):
        return store
    return standby_reads.StandbyReads(store, url)


def _check_key_not_lost(settings: Settings, store: "SqliteStore | PostgresStore") -> None:
    """Raise ValueError if a store in use would get a new outbox key."""
    path = settings.outbox_key_file
    # The file is checked again: a process started at the same time creates the key before it stores anything.
    if store.has_sealed() and not path.exists():
        raise ValueError(
            f"{path} is missing, though the store is in use: restore the key from your backup. Without a backup,"
            " `tickets keys rotate --outbox` creates a new key, and the queued tickets are lost"
        )


@contextmanager
def in_background(
    settings: Settings, *, with_outbox: bool = False, make_lost_key: bool = False
) -> Iterator[tuple[RunningService, Background]]:
    """Start the service for a command, which has no event loop; it is stopped at the end."""
    running = start(settings, with_outbox=with_outbox, make_lost_key=make_lost_key)
    background = Background(running.commands)
    try:
        yield running, background
    finally:
        background.close()
        running.close()


def require_store(settings: Settings) -> None:
    """Raise InvalidSettings if the store does not exist: a command that only reads must not create one."""
    path = settings.sqlite_path
    try:
        exists = (
            sqlite_version_at(path) if path else postgres_store.schema_version_at(settings.database_url)
        ) > 0
    except (OSError, Unavailable) as error:
        raise InvalidSettings(str(error)) from error
    if not exists:
        where = f"{path} (in the directory {Path.cwd()})" if path else "the database of TICKETS_DATABASE_URL"
        raise InvalidSettings(f"there is no store in {where}: check the directory and TICKETS_DATABASE_URL")


def open_store(settings: Settings) -> "SqliteStore | PostgresStore":
    """Return the store of the settings. Raises StoreUnavailable, InvalidSettings."""
    try:
        return open_at(settings.database_url, row_sealer(settings), migrate=settings.migrate_at_start)
    except (OSError, RuntimeError) as error:
        raise InvalidSettings(str(error)) from error


def row_sealer(settings: Settings) -> RowSealer:
    """Return the sealer of rows, which reads the ledger keys on first use."""
    keys = cache(lambda: ledger_keys(settings))
    return RowSealer(lambda: keys().row_keys(), is_required=settings.row_seals == "required")


def open_at(
    database_url: str, sealer: RowSealer | None = None, *, migrate: bool = False
) -> "SqliteStore | PostgresStore":
    """Return the store at a URL; a SQLite file is always migrated. sealer: None: rows are neither sealed nor checked.

    Raises StoreUnavailable, OSError, RuntimeError if this program cannot use the schema.
    """
    path = database_url.removeprefix("sqlite:///")
    if path == database_url:
        return postgres_store.PostgresStore(database_url, TABLES, sealer, migrate=migrate)
    return SqliteStore(Path(path), TABLES, sealer)


def ledger_keys(settings: Settings) -> LedgerKeys:
    """Return the keys that sign ledgers. Raises InvalidSettings."""
    try:
        keys = LedgerKeys(
            settings.ledger_key_dir,
            settings.ledger_name,
            clock=system_clock,
            overlap=timedelta(days=settings.ledger_key_overlap_days),
        )
        keys.public()  # an unusable key is reported now, not when it signs
    except (OSError, ValueError) as error:
        raise InvalidSettings(str(error)) from error
    return keys


def outbox_keys(
    settings: Settings, check_not_lost: Callable[[], None] = lambda: None
) -> Callable[[], Sequence[bytes]]:
    """Return the function that returns the outbox keys; their file is created if missing, unless the check raises.

    Raises OSError, ValueError.
    """
    if settings.outbox_key:
        keys = parse_outbox_keys(settings.outbox_key.get_secret_value())
    elif settings.outbox_key_command:
        keys = outbox_keys_of(settings.outbox_key_command)
    else:
        return OutboxKeyFile(settings.outbox_key_file, check_not_lost)
    return lambda: keys


@cache
def _digest_keys(*outbox_keys: bytes) -> Sequence[bytes]:
    return [hashlib.sha256(b"request digest" + key).digest() for key in outbox_keys]


def configure_logging(settings: Settings) -> None:
    """Log to standard error."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    log_to_stderr(as_json=as_json)
