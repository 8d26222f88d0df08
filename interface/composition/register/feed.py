"""Registers the routes of the feed."""

from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.permissions import EVENT_VIEW
from interface.http.core.room import Room
from interface.http.feed import routes


def room(context: RouteContext) -> Room:
    """Return the routes of the feed."""
    settings = context.settings
    part = routes.FeedPart(
        live=context.live, public_url=settings.public_url, patience_seconds=settings.stream_patience_seconds
    )
    return Room([routes.router, routes.documents], part)


CAPABILITY = Capability(room=room, permissions=(EVENT_VIEW,))
