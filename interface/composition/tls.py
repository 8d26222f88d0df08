"""TLS for servers without a proxy that terminates TLS."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from interface.lazy import lazy
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings

if TYPE_CHECKING:
    from cryptography import x509
else:
    x509 = lazy("cryptography.x509")

_PASSPHRASE_MISSING = ""


def check_certificate(settings: Settings) -> None:
    """Raise InvalidSettings if the server cannot use the certificate and its key."""
    if settings.tls_cert_file is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask the terminal for the passphrase of an encrypted key, and wait.
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file, lambda: _PASSPHRASE_MISSING)
    except (OSError, ValueError) as error:
        raise InvalidSettings(
            f"TICKETS_TLS_CERT_FILE and TICKETS_TLS_KEY_FILE cannot be used: {error}"
        ) from error


def tls_context(_: uvicorn.Config, made: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return uvicorn's context, for TLS 1.2 or later, independent of the system's default."""
    context = made()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def days_left(certificate: Path) -> int:
    """Return the number of full days until a certificate expires; negative if it has expired."""
    [own, *_] = x509.load_pem_x509_certificates(certificate.read_bytes())
    return (own.not_valid_after_utc - system_clock()).days
