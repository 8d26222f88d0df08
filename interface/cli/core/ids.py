"""The ids of clients and users in commands: the rule is that of paths."""

from collections.abc import Sequence

import typer

from domain.record.installation import INSTALLATION
from domain.shared.identifiers import ANY_CLIENT, fault_of_id
from interface.cli.core.messages import fail

Ids = str | Sequence[str] | None


def checked_id(parameter: typer.CallbackParam, value: Ids) -> Ids:
    """Return the ids of users, policies or subscriptions; exit with status 2 if no request could name one of them."""
    return _checked(parameter, value, ())


def checked_client(parameter: typer.CallbackParam, value: Ids) -> Ids:
    """Return the ids of clients, of which one may be the installation; otherwise as `checked_id`."""
    return _checked(parameter, value, (INSTALLATION.client_ext_id,))


def checked_client_of_token(parameter: typer.CallbackParam, value: Ids) -> Ids:
    """Return the clients of a token, which may be `*`; otherwise as `checked_id`."""
    return _checked(parameter, value, (ANY_CLIENT,))


def _checked(parameter: typer.CallbackParam, value: Ids, others: Sequence[str]) -> Ids:
    for text in [value] if isinstance(value, str) else value or ():
        if text not in others and (fault := fault_of_id(text)):
            fail(f"{parameter.opts[0]} {text!a} {fault}")
    return value
