"""Health checks, wired."""

from domain.shared.secret import Secret
from interface.composition.register.tools import Capability, Edge
from interface.http.core.room import Room
from interface.http.health import routes


def room(edge: Edge) -> Room:
    """Return the routes of the health checks."""
    token = edge.settings.metrics_token
    part = routes.HealthPart(
        readiness=edge.readiness,
        exposition=edge.exposition,
        metrics_token=Secret(token.get_secret_value()) if token is not None else None,
    )
    return Room([routes.router], part)


CAPABILITY = Capability(room=room)
