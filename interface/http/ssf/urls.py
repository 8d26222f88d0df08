"""The URLs that security events carry."""

from urllib.parse import quote

from domain.subscriptions.subscription import SubscriptionKey
from interface.http.core.path import BASE_PATH


def issuer(public_url: str, client_ext_id: str) -> str:
    """Return the issuer of the security events of a client: each client has its own."""
    return f"{public_url}{BASE_PATH}/{quote(client_ext_id, safe='')}"


def poll_url(public_url: str, key: SubscriptionKey) -> str:
    """Return the URL at which a stream is polled."""
    return f"{issuer(public_url, key.client_ext_id)}/ssf/streams/{key.name}/events"
