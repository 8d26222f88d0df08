"""The demo: a user with a ticket, and a curl line that resets it."""

import secrets
from typing import Any

from application.tickets.create_ticket import CreateTicket
from application.transaction.group_commit import Background
from application.transaction.store import Store
from application.users.register_user import RegisterUser
from domain.shared.subject import Subject
from domain.users.recipient import Contact
from interface.http.core.path import BASE_PATH
from interface.settings import Settings

DEMO = Subject("client-123", "user-123")


def register_demo(store: Store, background: Background) -> None:
    """Register a user with a ticket, if the store is empty."""
    if not store.is_empty():
        return
    contact = Contact(email="user-123@example.com", name="Una User")
    context: dict[str, Any] = {"subject": DEMO, "actor": "demo", "correlation_id": "", "request_digest": ""}
    background.execute(RegisterUser(**context, command_id=secrets.token_hex(16), contact=contact))
    background.execute(CreateTicket(**context, command_id=secrets.token_hex(16), reason="demo"))


def demo_greeting(settings: Settings, token: str, here: str) -> str:
    """Return how to reset the ticket of the demo user. here: the URL of the server."""
    url = f"{here}{BASE_PATH}/{DEMO.client_ext_id}/users/{DEMO.user_ext_id}/ticket/reset"
    return (
        f"\nReset the ticket of {DEMO.user_ext_id} (the token is valid for 8 hours):\n\n"
        f"curl -i -X POST {url} -H 'Authorization: Bearer {token}'\n\n"
        f"Each new ticket is mailed {'by your mail server' if settings.smtp_url else f'into {settings.mail_dir}/'}. All operations: {here}/docs\n"
    )
