"""A reset as in a tutorial: a sync route, the stock library, load, change, save. The baseline of the bench.

It has the same authentication and response as this service, but no read row, outbox or idempotency.
"""

import os
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from fastapi import APIRouter, Depends, Request
from psycopg.conninfo import conninfo_to_dict

from application.tickets.response import TicketResponse
from domain.policies.policy import DEFAULT_POLICY
from domain.tickets.states import State
from domain.tickets.ticket import hash_ticket, mint
from interface.http.core.call_route import PermittedForUser
from interface.http.core.permissions import CREDENTIAL_MODIFY, CREDENTIAL_VIEW
from interface.outbound.system import SystemRandomness

_DATE = "2026-11-23T09:42:00Z"


class Credential(Aggregate):
    """A credential as in a tutorial."""

    @event("Created")
    def __init__(self, user: str) -> None:
        self.user = user
        self.ticket_hash = ""
        self.reset_count = 0

    @event("Regenerated")
    def regenerate(self, ticket_hash: str) -> None:
        """Take a new hash."""
        self.ticket_hash = ticket_hash
        self.reset_count += 1

    @staticmethod
    def create_id(user: str) -> UUID:
        """Return the id of the user's credential."""
        return uuid5(NAMESPACE_URL, user)


class Credentials(Application[UUID]):
    """The stock application."""

    def create(self, *users: str) -> None:
        """Begin the credentials of users, in one transaction."""
        self.save(*map(Credential, users))

    def regenerate(self, user: str, ticket_hash: str) -> Credential:
        """Load, change, save."""
        credential: Credential = self.repository.get(Credential.create_id(user))
        credential.regenerate(ticket_hash)
        self.save(credential)
        return credential


def environment(database_url: str) -> dict[str, str]:
    """Return the library's settings for the database; its tables have other names."""
    if database_url.startswith("sqlite:"):
        path = database_url.removeprefix("sqlite:///") + ".textbook"
        return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path}
    options = conninfo_to_dict(database_url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(options["dbname"]),
        "POSTGRES_HOST": str(options.get("host", "127.0.0.1")),
        "POSTGRES_PORT": str(options.get("port", "5432")),
        "POSTGRES_USER": str(options.get("user", "postgres")),
        "POSTGRES_PASSWORD": str(options.get("password", "")) or "none",
    }


def router(credentials: Credentials) -> APIRouter:
    """Return the route."""
    routes = APIRouter()
    randomness = SystemRandomness()
    permitted = PermittedForUser(CREDENTIAL_MODIFY, CREDENTIAL_VIEW)

    async def permit(request: Request) -> None:
        state, params = request.app.state, request.path_params
        await permitted.call(request.scope, request.receive, params, state.service, state.parts)

    @routes.post("/textbook/{clientExtId:segment}/users/{userExtId:segment}", dependencies=[Depends(permit)])
    def reset(request: Request) -> TicketResponse:
        ticket = mint(DEFAULT_POLICY, randomness.octets)
        ticket_hash = hash_ticket(ticket, randomness.octets(16))
        user = request.path_params["userExtId"]
        return _response(credentials.regenerate(user, ticket_hash))

    return routes


def _response(credential: Credential) -> TicketResponse:
    return {
        "created": _DATE,
        "lastModified": _DATE,
        "version": credential.version,
        "extId": str(credential.id),
        "userExtId": credential.user,
        "policyExtId": "default",
        "stateName": State.ACTIVE,
        "stateChangeReason": "reset",
        "stateChangeDetail": None,
        "lastSuccessfulLoginDate": None,
        "successfulLoginCount": 0,
        "lastFailedLoginDate": None,
        "failedLoginCount": 0,
        "modificationComment": None,
        "type": "Ticket Authorization",
        "validity": {"from": _DATE, "to": _DATE},
        "ticket": credential.ticket_hash,
        "failureCount": 0,
        "successCount": 0,
        "resetCount": credential.reset_count,
    }


def open_textbook(database_url: str) -> Credentials:
    """Return the application over the database."""
    return Credentials(env={**os.environ, **environment(database_url)})
