"""Registers the routes of security events."""

from functools import partial

from application.subscriptions.poll import Polling
from application.subscriptions.security_event import SecurityEvents
from application.subscriptions.security_stream import SecurityStreams
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.room import Room
from interface.http.ssf import poll_routes, status_routes, stream_routes, well_known_routes
from interface.http.ssf.part import SsfPart
from interface.http.ssf.urls import issuer, poll_url


def room(context: RouteContext) -> Room:
    """Return the routes of security events."""
    settings = context.settings
    issuer_of = partial(issuer, settings.public_url)
    part = SsfPart(
        subscriptions=context.store,
        streams=SecurityStreams(
            context.store, context.sealer, issuer_of, partial(poll_url, settings.public_url)
        ),
        polling=Polling(
            context.store,
            context.store,
            context.live,
            SecurityEvents(issuer_of, context.set_keys, context.clock),
            settings.ledger_name,
            context.clock,
        ),
        public_url=settings.public_url,
        key_set=context.set_keys.key_set,
    )
    modules = (stream_routes, status_routes, poll_routes, well_known_routes)
    return Room([module.router for module in modules], part)


CAPABILITY = Capability(room=room)
