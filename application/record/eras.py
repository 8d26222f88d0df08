"""Eras distinguish events that have the same position before and after a restore.

A restored store is older than the events its subscribers have received, and assigns their positions to other events. So
each restore starts an era with a unique name, which becomes part of the id of every later event. In a store that was
never restored, the id of an event is its position.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from domain.shared.errors import Kind, Refusal

PATTERN = "(0|[1-9][0-9]{0,17})(~[0-9a-f]{8})?"


class PositionNotFound(Refusal):
    """The position is not in the client's ledger."""

    CODE = "PositionUnknown"
    KIND = Kind.NOT_FOUND


class EventId(NamedTuple):
    """The id of an event in a client's ledger. era: empty for an event written before the first restore."""

    position: int
    era: str = ""

    def __str__(self) -> str:
        return f"{self.position}~{self.era}" if self.era else str(self.position)


def parse_event_id(text: str) -> EventId:
    """Parse an event id. Raises ValueError."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(
            "an event id is a position, such as 42, or a position and an era, such as 42~0a1b2c3d"
        )
    position, _, era = text.partition("~")
    return EventId(int(position), era)


class Era(NamedTuple):
    """The entries that follow a restore. after: the last position of the restored ledger. began: the time, in UTC."""

    name: str
    after: int
    began: str


@dataclass(frozen=True)
class Eras:
    """The eras of a client's ledger after the first, in order."""

    later: Sequence[Era] = ()

    def at(self, position: int) -> EventId:
        """Return the id of the event at a position."""
        if not self.later:
            return EventId(position)
        return EventId(position, next((era.name for era in reversed(self.later) if era.after < position), ""))

    def text_at(self, position: int) -> str:
        """Return the text of the id of the event at a position."""
        return str(self.at(position)) if self.later else str(position)

    def holds(self, event: EventId) -> bool:
        """Return whether the id is the current one at its position."""
        return self.at(event.position) == event

    def end_of(self, name: str) -> int | None:
        """Return the last position of an era; None: the era is current or unknown."""
        names = ["", *(era.name for era in self.later)]
        number = names.index(name) if name in names else len(self.later)
        return self.later[number].after if number < len(self.later) else None

    def cut_before(self, size: int) -> Era | None:
        """Return the era whose restore removed the most entries from a ledger of this size; None: nothing was removed."""
        return min((era for era in self.later if era.after < size), key=lambda era: era.after, default=None)


NO_ERAS = Eras()
