"""Check the health of the server on this machine, for the health checks of the image and of compose.

    python -m interface.healthcheck /livez|/readyz [PORT]

Exit status 0: the server responds with 200. This is not a command of `tickets`, whose imports take a second or two: too
much for a check that runs every few seconds beside a busy server. It imports nothing of the service and reads its only
setting, TICKETS_TLS_CERT_FILE, as the service does: from the environment or the directory of secrets.
"""

import http.client
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

_CERTIFICATE = "tickets_tls_cert_file"
_SECRETS = "tickets_secrets_dir"
_PORT = 8000
_SECONDS = 2


def is_healthy(path: str, port: int, environment: Mapping[str, str]) -> bool:
    """Return whether the server responds to this path with 200."""
    connection = _connection(port, by_tls=serves_tls(environment))
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serves_tls(environment: Mapping[str, str]) -> bool:
    """Return whether a server with these settings serves TLS."""
    given = {name.lower(): text for name, text in environment.items()}
    secrets = given.get(_SECRETS)
    return bool(given.get(_CERTIFICATE)) or bool(secrets and (Path(secrets) / _CERTIFICATE).is_file())


def _connection(port: int, *, by_tls: bool) -> http.client.HTTPConnection:
    if not by_tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    # The certificate is not verified: it is issued for the public name of the service, not for the loopback address, and
    # the request contains no secret.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)


def main(path: str, port: str = str(_PORT)) -> None:
    """Exit with status 1 if the server is unhealthy."""
    raise SystemExit(not is_healthy(path, int(port), os.environ))


if __name__ == "__main__":
    main(*sys.argv[1:])
