"""The version of the service, from the metadata of the installed package."""

from importlib import metadata

DISTRIBUTION = "ticket-credential-service"
UNKNOWN = "0+unknown"


def current() -> str:
    """Return the version, or UNKNOWN if the source is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return UNKNOWN
