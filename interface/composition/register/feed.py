"""The feed, wired."""

from interface.composition.register.tools import Capability, Edge
from interface.http.core.room import Room
from interface.http.feed import routes


def room(edge: Edge) -> Room:
    """Return the routes of the feed."""
    settings = edge.settings
    part = routes.FeedPart(
        live=edge.live, public_url=settings.public_url, patience_seconds=settings.stream_patience_seconds
    )
    return Room([routes.router, routes.documents], part)


CAPABILITY = Capability(room=room)
