"""The progress of a reader, in a small crash-safe file."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from application.record.eras import PATTERN, EventId, parse_event_id
from application.shared.errors import StoreUnavailable
from interface.outbound.files.durable_file import locked_sidecar, replace_durably


class CursorRefused(Exception):
    """A cursor file is in use by another process, belongs to another target, or is invalid."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    """positions: a number, or a text with the era of the event."""

    of: str
    positions: dict[
        str, Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=f"^{PATTERN}$")]
    ]


class CursorFile:
    """The last forwarded event of each client. Implements the port Cursor."""

    def __init__(self, path: Path, content: _Content) -> None:
        self._path = path
        self._content = content
        self._moved = False

    def last(self, client_ext_id: str) -> EventId:
        """Return the last forwarded event of a client; position 0: none."""
        return parse_event_id(str(self._content.positions.get(client_ext_id, 0)))

    def move(self, client_ext_id: str, event: EventId) -> None:
        """Record that this event was forwarded."""
        self._content.positions[client_ext_id] = str(event) if event.era else event.position
        self._moved = True

    def keep(self) -> None:
        """Write the recorded progress to disk. Raises StoreUnavailable."""
        if not self._moved:
            return
        try:
            replace_durably(self._path, msgspec.json.encode(self._content) + b"\n")
        except OSError as error:
            raise StoreUnavailable(f"cannot write the cursor file: {error}") from error
        self._moved = False


@contextmanager
def open_cursor(path: Path, of: str) -> Iterator[CursorFile]:
    """Lock a cursor file, which may not exist yet. Raises CursorRefused.

    of: the target that the positions belong to.
    """
    with ExitStack() as stack:
        try:
            if not stack.enter_context(locked_sidecar(path)):
                raise CursorRefused(f"the cursor file {path} is in use by another process")
            content = _read(path, of)
        except OSError as error:
            raise CursorRefused(f"cannot use the cursor file {path}: {error}") from error
        yield CursorFile(path, content)


def _read(path: Path, of: str) -> _Content:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return _Content(of, {})
    except ValueError:
        raise CursorRefused(f"{path} is not a cursor file; it was not changed") from None
    if content.of != of:
        raise CursorRefused(f"the cursor file {path} belongs to {content.of}, not to {of}")
    return content
