"""TLS of the service itself: accepted connections, refused ones, and faults that stop the start."""

import logging
import socket
import ssl
import warnings
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from interface.cli.operations.commands import Health
from interface.composition.operations import examine
from interface.composition.service import start
from interface.composition.tls import check_certificate, tls_context
from interface.settings import InvalidSettings, Settings
from tests.support.certificates import self_signed
from tests.support.server import serving

USER = "/client-123/users/user-123"
# The server closes the connection, with or without OpenSSL's alert about the version.
REFUSED = {"TLSV1_ALERT_PROTOCOL_VERSION", "UNEXPECTED_EOF_WHILE_READING"}

VERSIONS = (
    ssl.TLSVersion.TLSv1,
    ssl.TLSVersion.TLSv1_1,
    ssl.TLSVersion.TLSv1_2,
    ssl.TLSVersion.TLSv1_3,
)
OLD = r"ssl\.TLSVersion\.TLSv1(_1)? is deprecated"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key, in one file that only the service can read."""
    path = self_signed(tmp_path / "tls.pem")
    path.chmod(0o600)
    return path


def settings(certificate: Path, key: Path | None = None) -> Settings:
    return Settings(tls_cert_file=certificate, tls_key_file=key or certificate)


def test_each_server_process_accepts_tls_only(certificate: Path, tmp_path: Path, sqlite_url: str) -> None:
    tls = {"TICKETS_TLS_CERT_FILE": str(certificate), "TICKETS_TLS_KEY_FILE": str(certificate)}
    with serving(tmp_path, sqlite_url, "--workers", "2", **tls) as server:
        answer = server.client.put(USER, json={"email": "user-123@example.com"})
        spoken = {version: speak(server.port, certificate, version) for version in VERSIONS}
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{server.port}/livez", trust_env=False)

    assert answer.status_code in (200, 201)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert spoken[ssl.TLSVersion.TLSv1_2] == "TLSv1.2"
    assert spoken[ssl.TLSVersion.TLSv1_3] == "TLSv1.3"
    assert {spoken[ssl.TLSVersion.TLSv1], spoken[ssl.TLSVersion.TLSv1_1]} <= REFUSED


def test_older_versions_are_refused_even_if_the_system_accepts_them() -> None:
    def made() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with pytest.warns(DeprecationWarning, match=OLD):
            context.minimum_version = ssl.TLSVersion.TLSv1
        return context

    assert tls_context(None, made).minimum_version is ssl.TLSVersion.TLSv1_2  # type: ignore[arg-type]


def test_the_header_for_tls_has_the_set_duration(certificate: Path) -> None:
    assert Settings().hsts_max_age is None
    assert Settings(hsts_seconds=60).hsts_max_age == 60
    assert settings(certificate).hsts_max_age == 31_536_000
    assert settings(certificate).model_copy(update={"hsts_seconds": 0}).hsts_max_age == 0


def test_a_key_that_others_may_read_stops_the_start(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    certificate.chmod(0o644)

    with pytest.raises(InvalidSettings, match=r"^other users can read .*tls\.pem: chmod 600 .*tls\.pem$"):
        start(settings(certificate))


def test_a_certificate_with_its_key_is_taken(certificate: Path) -> None:
    check_certificate(settings(certificate))
    check_certificate(Settings())


def test_one_without_the_other_stops_the_start() -> None:
    for alone in ({"tls_cert_file": "tls.pem"}, {"tls_key_file": "tls.pem"}):
        with pytest.raises(
            ValueError, match="TICKETS_TLS_CERT_FILE and TICKETS_TLS_KEY_FILE must be set together"
        ):
            Settings.model_validate(alone)


def test_an_unusable_certificate_stops_the_start_and_is_not_shown(
    certificate: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    other, nonsense = self_signed(tmp_path / "other.pem"), tmp_path / "nonsense.pem"
    nonsense.write_text("PRIVATE nonsense")
    encrypted = tmp_path / "encrypted.pem"
    key = load_pem_private_key(certificate.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    )

    for wrong in (other, nonsense, encrypted, tmp_path / "none.pem"):
        with pytest.raises(
            InvalidSettings, match=r"^TICKETS_TLS_CERT_FILE and .* cannot be used: "
        ) as reported:
            check_certificate(settings(certificate, wrong))
        assert "PRIVATE" not in str(reported.value) + caplog.text


@pytest.mark.parametrize(
    ("lasts", "health", "reported"),
    [
        (timedelta(days=30, hours=1), Health.GOOD, "expires in 30 days"),
        (timedelta(days=13, hours=1), Health.WARNING, "expires in 13 days"),
        (timedelta(hours=-1), Health.BAD, "has expired"),
    ],
)
def test_the_doctor_reports_the_expiry_of_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasts: timedelta, health: Health, reported: str
) -> None:
    certificate = self_signed(tmp_path / "tls.pem", lasts=lasts)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_TLS_CERT_FILE", str(certificate))
    monkeypatch.setenv("TICKETS_TLS_KEY_FILE", str(certificate))

    [found] = [finding for finding in examine() if finding.check == "certificate"]

    assert (found.health, found.found) == (health, reported)


def speak(port: int, certificate: Path, version: ssl.TLSVersion) -> str | None:
    """Return the TLS version used with a caller that supports only this one, or the error."""
    context = ssl.create_default_context(cafile=str(certificate))
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as secure,
        ):
            return secure.version()
    except ssl.SSLError as error:
        return error.reason
