"""Settings, from the environment (`TICKETS_*`); docs/settings.md has the same table."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from interface.settings.base import PREFIX
from interface.settings.delivery import DeliverySettings
from interface.settings.keys import KeySettings
from interface.settings.record import RecordSettings
from interface.settings.server import ServerSettings
from interface.settings.store import StoreSettings
from interface.settings.subscriptions import SubscriptionSettings

# Read by the test suite, not by the service.
_TEST_PREFIX = "TICKETS_TEST_"
# Kubernetes sets these variables for each Service of the namespace, such as one named `tickets`.
_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST=|_SERVICE_PORT(_\w+)?=|_PORT(_\d+_[A-Z]+)?=(tcp|udp|sctp)://|_PORT_\d+_[A-Z]+_(PROTO|PORT|ADDR)="
)
# By the type of pydantic's error. A pattern has a sentence where the field is declared.
_EXPECTATIONS = {
    "bool_parsing": "must be true or false",
    "int_parsing": "must be an integer",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
}


class InvalidSettings(Exception):
    """The settings are invalid; the message is one line."""


# The fields of the last base come first.
class Settings(
    SubscriptionSettings, RecordSettings, KeySettings, DeliverySettings, ServerSettings, StoreSettings
):
    """All settings."""

    secrets_dir: Annotated[
        Path | None,
        Field(
            description="directory of files named like settings (`tickets_smtp_url`); the environment takes precedence"
        ),
    ] = None


def read_settings() -> Settings:
    """Return the settings of the environment. Raises InvalidSettings with a message of one line."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name for name in os.environ if name.startswith(PREFIX) and not name.startswith(_TEST_PREFIX)}
    named = os.environ.get(f"{PREFIX}SECRETS_DIR", "")
    secrets_dir = named if named.strip() else None  # an empty one is refused below
    try:
        given |= _secret_files(secrets_dir) if secrets_dir else set()
        if unknown := sorted(given - known):
            raise InvalidSettings(_unknown(unknown))
        return Settings(_secrets_dir=secrets_dir)
    except OSError as error:
        raise InvalidSettings(
            f"{PREFIX}SECRETS_DIR: must be a readable directory: {error.strerror}: {error.filename}"
        ) from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = PREFIX + str(fault["loc"][0]).upper() + ": " if fault["loc"] else ""
        expected = _EXPECTATIONS.get(fault["type"], "").format(**fault.get("ctx", {}))
        raise InvalidSettings(name + (expected or fault["msg"].removeprefix("Value error, "))) from None


def _unknown(names: Sequence[str]) -> str:
    links = [name for name in names if _SERVICE_LINK.search(f"{name}={os.environ.get(name, '')}")]
    if links:
        return (
            f"{', '.join(links)}: set by Kubernetes for a Service, not a setting: put `enableServiceLinks: false` into"
            " the specification of the pod"
        )
    return f"{', '.join(names)}: unknown setting; docs/settings.md lists them"


def _secret_files(directory: str) -> set[str]:
    """Return the settings with a file in a directory of secrets; a mounted directory has other entries, too."""
    names = {entry.name.upper() for entry in Path(directory).iterdir()}
    return {name for name in names if name.startswith(PREFIX)}


__all__ = ["PREFIX", "InvalidSettings", "Settings", "read_settings"]
