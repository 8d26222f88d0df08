"""Registers the routes of the health checks."""

from domain.shared.secret import Secret
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.room import Room
from interface.http.health import routes


def room(context: RouteContext) -> Room:
    """Return the routes of the health checks."""
    token = context.settings.metrics_token
    part = routes.HealthPart(
        readiness=context.readiness,
        exposition=context.exposition,
        metrics_token=Secret(token.get_secret_value()) if token is not None else None,
    )
    return Room([routes.router], part)


CAPABILITY = Capability(room=room)
