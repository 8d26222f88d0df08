"""Security events, wired."""

from functools import partial

from application.subscriptions.poll import Polling
from application.subscriptions.security_event import SecurityEvents
from application.subscriptions.security_stream import SecurityStreams
from interface.composition.register.tools import Edge
from interface.http.core.room import Room
from interface.http.ssf import poll_routes, status_routes, stream_routes, well_known_routes
from interface.http.ssf.part import SsfPart
from interface.http.ssf.urls import issuer, poll_url


def room(edge: Edge) -> Room:
    """Return the routes of security events."""
    settings = edge.settings
    issuer_of = partial(issuer, settings.public_url)
    part = SsfPart(
        subscriptions=edge.store,
        streams=SecurityStreams(edge.store, edge.sealer, issuer_of, partial(poll_url, settings.public_url)),
        polling=Polling(
            edge.store,
            edge.store,
            edge.live,
            SecurityEvents(issuer_of, edge.set_keys, edge.clock),
            settings.ledger_name,
            edge.clock,
        ),
        public_url=settings.public_url,
        key_set=edge.set_keys.key_set,
    )
    modules = (stream_routes, status_routes, poll_routes, well_known_routes)
    return Room([module.router for module in modules], part)
