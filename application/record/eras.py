"""Eras: what tells an event from another one that had its position before the store was put back.

A store that is restored from a backup is older than what its subscribers have seen, and goes on with other events at
the same positions. So a restore begins an era, with a name that no other has; what is written from then on carries it.
A store that was never put back has no eras, and its events are known by their positions alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

PATTERN = "(0|[1-9][0-9]{0,17})(~[0-9a-f]{8})?"


class EventId(NamedTuple):
    """Which event of a client's ledger; era: empty for what was written before the store was put back for the first time."""

    position: int
    era: str = ""

    def __str__(self) -> str:
        return f"{self.position}~{self.era}" if self.era else str(self.position)


def parse_event_id(text: str) -> EventId:
    """Return the id that is written so. Raises ValueError."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError("an id is a position, such as 42, and may have an era, such as 42~0a1b2c3d")
    position, _, era = text.partition("~")
    return EventId(int(position), era)


class Era(NamedTuple):
    """What was written in a client's ledger since a restore. after: behind which position. began: when, in UTC."""

    name: str
    after: int
    began: str


@dataclass(frozen=True)
class Eras:
    """The eras of a client's ledger behind the first, in their order."""

    later: Sequence[Era] = ()

    def at(self, position: int) -> EventId:
        """Return the id of the event at a position."""
        return EventId(position, next((era.name for era in reversed(self.later) if era.after < position), ""))

    def holds(self, event: EventId) -> bool:
        """Tell whether the event at this position, if there is one, is this one."""
        return self.at(event.position) == event

    def end_of(self, name: str) -> int | None:
        """Return the position with which an era ends; None: it goes on, or is none of this ledger."""
        names = ["", *(era.name for era in self.later)]
        number = names.index(name) if name in names else len(self.later)
        return self.later[number].after if number < len(self.later) else None

    def cut_before(self, size: int) -> Era | None:
        """Return the era at whose begin a ledger of this size had lost something, the one that lost most of it."""
        return min((era for era in self.later if era.after < size), key=lambda era: era.after, default=None)


NO_ERAS = Eras()
