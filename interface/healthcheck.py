"""Ask the server on this machine how it is, as the health checks of the image and of compose do.

    python -m interface.healthcheck /livez|/readyz [PORT]

Exit status 0: it answers 200. No command of `tickets`: those take a second or two of imports, which is most of what a
health check may take, every few seconds and beside a busy server. So this imports nothing of the service, and reads the
one setting that it needs, TICKETS_TLS_CERT_FILE, as the service does: from the environment or the directory of secrets.
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
    """Tell whether the server answers 200 there."""
    connection = _connection(port, by_tls=serves_tls(environment))
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serves_tls(environment: Mapping[str, str]) -> bool:
    """Tell whether a server with these settings speaks TLS."""
    given = {name.lower(): text for name, text in environment.items()}
    secrets = given.get(_SECRETS)
    return bool(given.get(_CERTIFICATE)) or bool(secrets and (Path(secrets) / _CERTIFICATE).is_file())


def _connection(port: int, *, by_tls: bool) -> http.client.HTTPConnection:
    if not by_tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    # The certificate is for the name by which callers reach the service, not for this address, and nothing is sent that
    # somebody else on the loopback interface might not see: it is not checked.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)


def main(path: str, port: str = str(_PORT)) -> None:
    """End with status 1 where it is not well."""
    raise SystemExit(not is_healthy(path, int(port), os.environ))


if __name__ == "__main__":
    main(*sys.argv[1:])
