"""Checks of keys, permissions and the certificate."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from interface.cli.operations.commands import Finding, Health
from interface.composition.service import listable_directories, open_files, outbox_keys
from interface.composition.tls import check_certificate, days_left
from interface.outbound.files.durable_file import read_own
from interface.outbound.keys.issuer_keys import fetch_key_set
from interface.outbound.keys.key_set import KeySet, read_key_set
from interface.outbound.keys.ledger_keys import ledger_key_files, public_ledger_keys
from interface.outbound.keys.set_keys import SetKeys
from interface.outbound.keys.token_key import TokenKey
from interface.settings import InvalidSettings, Settings

_ENDS_SOON_DAYS = 14
_LOCK_BYTES = 4096


def check_keys(settings: Settings) -> Iterator[Finding]:
    """Read each key, but create none: a missing key may be in a backup."""
    given = settings.outbox_key or settings.outbox_key_command
    yield _key(
        "outbox key",
        None if given else settings.outbox_key_file,
        lambda _: f"{len(outbox_keys(settings)())} in the file",
    )
    if settings.jwks_file:
        yield _key_set_in(settings.jwks_file)
    elif settings.jwks_url:
        yield _key_set_at(settings.jwks_url)
    else:
        yield _key("token key", settings.token_key_file, _usable(TokenKey))
    yield _key("security event key", settings.set_key_file, _usable(SetKeys))
    yield _ledger_keys(settings)


def _ledger_keys(settings: Settings) -> Finding:
    directory = settings.ledger_key_dir
    try:
        files = ledger_key_files(directory)
    except OSError as error:
        return Finding("ledger key", Health.BAD, str(error), "give the service read access")
    except ValueError as error:
        found, _, advice = str(error).partition(": ")
        return Finding("ledger key", Health.BAD, found, advice)
    newest = files[-1] if files else directory / "*.pem"
    return _key(
        "ledger key",
        newest,
        lambda _: f"the newest was created {public_ledger_keys(directory, settings.ledger_name)[0][0]}",
    )


def _key_set_at(url: str) -> Finding:
    try:
        found = asyncio.run(fetch_key_set(url))
    except (OSError, ValueError) as error:
        advice = "check TICKETS_JWKS_URL, and that this machine can reach its server. Running servers accept the known keys for TICKETS_JWKS_STALE_SECONDS: do not restart them"
        return Finding("token issuer", Health.BAD, f"its key set cannot be fetched: {error}", advice)
    return _accepted(found)


def _key_set_in(path: Path) -> Finding:
    try:
        return _accepted(read_key_set(path.read_bytes()))
    except OSError as error:
        found = str(error)
    except ValueError as error:
        found = f"{path}: {error}"
    return Finding("token issuer", Health.BAD, found, "correct TICKETS_JWKS_FILE, or the file")


def _accepted(found: KeySet) -> Finding:
    text = "; ".join([f"{len(found.keys)} keys", *found.refused])
    if found.keys and not found.refused:
        return Finding("token issuer", Health.GOOD, text)
    advice = "have the issuer replace the refused keys: their tokens are not accepted"
    return Finding("token issuer", Health.WARNING if found.keys else Health.BAD, text, advice)


def _key(name: str, path: Path | None, read: Callable[[Path], str]) -> Finding:
    if path and not path.exists():
        return Finding(
            name,
            Health.WARNING,
            f"{path} does not exist",
            "the next start creates it; if it existed before, restore it from your backup first",
        )
    try:
        return Finding(name, Health.GOOD, read(path or Path()))
    except (OSError, ValueError) as error:
        found = str(error) if path is None or str(path) in str(error) else f"{path}: {error}"
        return Finding(name, Health.BAD, found, "restore the key from your backup")


def _usable(kind: Callable[[Path], object]) -> Callable[[Path], str]:
    def read(path: Path) -> str:
        kind(path)
        return f"{path} can be used"

    return read


def check_permissions(settings: Settings) -> Iterator[Finding]:
    """Check the permissions of files."""
    faults = [*open_files(settings), *_foreign_locks(settings.sqlite_path)]
    for fault in faults:
        found, _, advice = fault.partition(": ")
        yield Finding("permissions", Health.BAD, found, advice)
    for warning in listable_directories():
        found, _, advice = warning.partition(": ")
        yield Finding("permissions", Health.WARNING, found, advice)
    if not faults:
        yield Finding(
            "permissions", Health.GOOD, "keys, database and trusted files are accessible by the service only"
        )


def _foreign_locks(database: Path | None) -> Iterator[str]:
    """Yield a text for each lock file that the service refuses."""
    for lock in sorted(database.parent.glob(f"{database.name}.*.lock")) if database else ():
        try:
            read_own(lock, _LOCK_BYTES)
        except OSError as error:
            yield f"{lock} {error.strerror}"


def check_certificate_file(settings: Settings) -> Iterator[Finding]:
    """Check the certificate."""
    if settings.tls_cert_file is None:
        return
    try:
        check_certificate(settings)
    except InvalidSettings as error:
        yield Finding("certificate", Health.BAD, str(error), "correct the setting, or the file")
        return
    left = days_left(settings.tls_cert_file)
    advice = "replace it, and restart: it is read at the start only"
    if left < 0:
        yield Finding("certificate", Health.BAD, "has expired", advice)
    elif left < _ENDS_SOON_DAYS:
        yield Finding("certificate", Health.WARNING, f"expires in {left} days", advice)
    else:
        yield Finding("certificate", Health.GOOD, f"expires in {left} days")
