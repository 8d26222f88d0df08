"""A room of the HTTP edge: the routes of one capability, and their dependencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import APIRouter, Request

Part = TypeVar("Part")
Parts = Mapping[type, Any]


@dataclass(frozen=True)
class Room:
    """The routes of a capability. part: their dependencies, an instance of a class that the room declares.

    body_limits: the maximum of bytes of a body, by the end of the path, where it exceeds that of other paths.
    """

    routers: Sequence[APIRouter]
    part: object | None = None
    body_limits: Mapping[str, int] = field(default_factory=dict)


def parts_of(rooms: Sequence[Room]) -> Parts:
    """Return the part of each room by its class."""
    return {type(room.part): room.part for room in rooms if room.part is not None}


def part_of(request: Request, kind: type[Part]) -> Part:
    """Return a room's part, for a route without a Call. Raises KeyError if no room has registered it."""
    part: Part = request.app.state.parts[kind]
    return part
