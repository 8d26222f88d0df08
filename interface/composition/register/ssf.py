"""Security events, wired."""

from functools import partial
from urllib.parse import quote

from application.subscriptions.poll import Polling
from application.subscriptions.security_event import SecurityEvents
from application.subscriptions.security_stream import SecurityStreams
from domain.subscriptions.subscription import SubscriptionKey
from interface.composition.register.contexts import RouteContext
from interface.http.core.path import BASE_PATH
from interface.http.core.room import Room
from interface.http.ssf import routes


def issuer(public_url: str, client_ext_id: str) -> str:
    """Return the issuer of the security events of a client: each client has its own."""
    return f"{public_url}{BASE_PATH}/{quote(client_ext_id, safe='')}"


def room(context: RouteContext) -> Room:
    """Return the routes of security events."""
    settings = context.settings
    issuer_of = partial(issuer, settings.public_url)

    def poll_url(key: SubscriptionKey) -> str:
        return f"{issuer_of(key.client_ext_id)}/ssf/streams/{key.name}/events"

    part = routes.SsfPart(
        subscriptions=context.store,
        streams=SecurityStreams(context.store, context.sealer, issuer_of, poll_url),
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
    return Room([routes.router, routes.well_known], part)
