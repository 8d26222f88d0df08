"""How far something was read, in a small file that survives crashes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from application.record.eras import PATTERN, EventId, parse_event_id
from application.shared.errors import StoreUnavailable
from interface.outbound.files.durable_file import locked_sidecar, replace_durably


class CursorRefused(Exception):
    """A cursor file that cannot be gone on from: another process uses it, or it is of something else, or nonsense."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    """positions: a number; or, with the era of the event behind it, a text."""

    of: str
    positions: dict[
        str, Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=f"^{PATTERN}$")]
    ]


class CursorFile:
    """The event of each client up to which everything was handed on. Implements the port Cursor."""

    def __init__(self, path: Path, content: _Content) -> None:
        self._path = path
        self._content = content
        self._moved = False

    def last(self, client_ext_id: str) -> EventId:
        """Return the event of a client that was handed on last; position 0: none was."""
        return parse_event_id(str(self._content.positions.get(client_ext_id, 0)))

    def move(self, client_ext_id: str, event: EventId) -> None:
        """Note that this event was handed on."""
        self._content.positions[client_ext_id] = str(event) if event.era else event.position
        self._moved = True

    def keep(self) -> None:
        """Bring to the disk what was noted. Raises StoreUnavailable."""
        if not self._moved:
            return
        try:
            replace_durably(self._path, msgspec.json.encode(self._content) + b"\n")
        except OSError as error:
            raise StoreUnavailable(f"the cursor cannot be kept: {error}") from error
        self._moved = False


@contextmanager
def open_cursor(path: Path, of: str) -> Iterator[CursorFile]:
    """Hold a cursor file, which need not be there yet, so that no other process uses it. Raises CursorRefused.

    of: what the positions belong to.
    """
    with ExitStack() as stack:
        try:
            if not stack.enter_context(locked_sidecar(path)):
                raise CursorRefused(f"the cursor file {path} is used by another process")
            content = _read(path, of)
        except OSError as error:
            raise CursorRefused(f"the cursor file {path} cannot be used: {error}") from error
        yield CursorFile(path, content)


def _read(path: Path, of: str) -> _Content:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return _Content(of, {})
    except ValueError:
        raise CursorRefused(f"{path} is no cursor file, and is left as it is") from None
    if content.of != of:
        raise CursorRefused(f"the cursor file {path} is of {content.of}, not of {of}")
    return content
