"""The commands for the server: serve HTTP, and sign tokens."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from interface.cli.core.ids import checked_client_of_token
from interface.cli.core.messages import fail

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class ServerActions:
    """The actions of the commands; interface/composition creates it."""

    serve: Callable[..., None]
    sign_token: Callable[..., str]


def add_commands(cli: typer.Typer, actions: ServerActions) -> None:
    """Add the commands."""

    @cli.command()
    def serve(
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
        database: Annotated[
            str | None, typer.Option(help="sqlite:///PATH or postgresql://…; overrides TICKETS_DATABASE_URL.")
        ] = None,
        workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
        demo: Annotated[
            bool,
            typer.Option(
                "--demo", help="Register a user with a ticket if the store is empty; print a curl command."
            ),
        ] = False,
    ) -> None:
        """Serve HTTP until a stop signal."""
        actions.serve(host=host, port=port, database=database, workers=workers, demo=demo)

    @cli.command()
    def token(
        sub: Annotated[str, typer.Option(help="Subject of the token: the actor in the history.")],
        client: Annotated[
            list[str],
            typer.Option(
                help="Client that the token allows; * for all. Repeatable.", callback=checked_client_of_token
            ),
        ],
        permission: Annotated[
            list[str] | None,
            typer.Option(help="Permission such as AccessControl.CredentialView. Repeatable."),
        ] = None,
        all_permissions: Annotated[bool, typer.Option("--all", help="Every permission.")] = False,
        ttl: Annotated[str, typer.Option(help="Lifetime: 90s, 15m, 1h, 7d.")] = "1h",
    ) -> None:
        """Sign a token with the service's own key, and print it."""
        if all_permissions == bool(permission):
            fail("give the permissions with --permission, or --all")
        print(  # noqa: T201 - the bare token, for $(tickets token …)
            actions.sign_token(
                subject=sub, clients=client, permissions=permission or [], lifetime=_lifetime(ttl)
            )
        )


def _lifetime(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if not match:
        fail(f"--ttl {text}: must be a number and a unit, such as 90s, 15m, 1h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
