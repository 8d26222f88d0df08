"""Security events, wired."""

from functools import partial
from urllib.parse import quote

from application.subscriptions.poll import Polling
from application.subscriptions.security_event import SecurityEvents
from application.subscriptions.security_stream import SecurityStreams
from domain.subscriptions.subscription import SubscriptionKey
from interface.composition.register.tools import Capability, Edge
from interface.http.core.path import BASE_PATH
from interface.http.core.room import Room
from interface.http.ssf import routes


def issuer(public_url: str, client_ext_id: str) -> str:
    """Return the issuer of the security events of a client: each client has its own."""
    return f"{public_url}{BASE_PATH}/{quote(client_ext_id, safe='')}"


def room(edge: Edge) -> Room:
    """Return the routes of security events."""
    settings = edge.settings
    issuer_of = partial(issuer, settings.public_url)

    def poll_url(key: SubscriptionKey) -> str:
        return f"{issuer_of(key.client_ext_id)}/ssf/streams/{key.name}/events"

    part = routes.SsfPart(
        subscriptions=edge.store,
        streams=SecurityStreams(edge.store, edge.sealer, issuer_of, poll_url),
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
    return Room([routes.router, routes.well_known], part)


CAPABILITY = Capability(room=room)
