"""The HTTP server: addresses, TLS, limits, logs and metrics."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from application.shared.fields import mismatch
from interface.settings.base import NOT_EMPTY, Group, items

_YEAR_SECONDS = 31_536_000
# In the form that browsers send: scheme, host in lower case, and the port if it is not the default of the scheme.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class ServerSettings(Group):
    """The HTTP server: addresses, TLS, limits, logs and metrics."""

    public_url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^/?#\s]+(?:/[^?#\s]*[^/?#\s])?$",
            description="public base URL of the service; also the issuer of its security event streams",
        ),
        mismatch("must be an http:// or https:// URL without a query, a fragment or a slash at the end"),
    ] = "http://127.0.0.1:8000"
    grace_seconds: Annotated[
        int, Field(ge=2, description="time limit for finishing running requests at shutdown")
    ] = 30
    tls_cert_file: Annotated[
        Path | None, Field(description="serve TLS 1.2 or later with this certificate chain (PEM)")
    ] = None
    tls_key_file: Annotated[
        Path | None, Field(description="private key of the certificate (PEM, unencrypted)")
    ] = None
    hsts_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            description="`max-age` of `Strict-Transport-Security`; default: one year if the service serves TLS, otherwise no header",
        ),
    ] = None
    trusted_proxies: Annotated[
        str | None,
        Field(
            description="comma-separated addresses and networks whose `X-Forwarded-For` is trusted; default: none"
        ),
    ] = None
    cors_origins: Annotated[
        str | None,
        Field(
            description="comma-separated origins allowed by CORS, such as `https://desk.example`; default: none"
        ),
    ] = None
    rate_limit_per_caller: Annotated[
        str,
        Field(
            description="limit on writes (POST, PUT, PATCH, DELETE) per caller and process, such as `100/second`, or `off`;"
            " all processes together allow it times workers times hosts"
        ),
    ] = "60000/minute"
    rate_limit_per_client: Annotated[
        str,
        Field(
            description="limit on writes of all callers together per client and process, such as `100/second`, or `off`"
        ),
    ] = "120000/minute"
    rate_limit_per_credential: Annotated[
        str,
        Field(description="limit on writes about one user per process, such as `10/minute`, or `off`"),
    ] = "600/minute"
    alert_resets_per_hour: Annotated[
        int,
        Field(
            ge=0,
            description="resets of one caller in a client per hour and process that are logged (`sudden resets`) and counted"
            " in `tickets_caller_alerts_total`; 0: never",
        ),
    ] = 1000
    alert_refusals_per_hour: Annotated[
        int, Field(ge=0, description="likewise for refused requests (`sudden refusals`)")
    ] = 500
    alert_address_changes_per_hour: Annotated[
        int, Field(ge=0, description="likewise for changed addresses of users (`sudden address-changes`)")
    ] = 500
    alert_deletions_per_hour: Annotated[
        int, Field(ge=0, description="likewise for deleted tickets and erased users (`sudden deletions`)")
    ] = 500
    lists_per_client: Annotated[
        int,
        Field(
            ge=1,
            description="maximum number of lists, histories and pages of the feed of one client that a process reads or sends at the same time",
        ),
    ] = 64
    followers_per_caller: Annotated[
        int,
        Field(ge=1, description="maximum number of live streams and long polls of one caller in a process"),
    ] = 2000
    followers_per_client: Annotated[
        int,
        Field(ge=1, description="maximum number of live streams and long polls of one client in a process"),
    ] = 4000
    request_patience_seconds: Annotated[
        int, Field(ge=1, description="time limit for receiving a request; slower connections are closed")
    ] = 20
    stream_patience_seconds: Annotated[
        int, Field(ge=1, description="time after which the connection of a stalled stream reader is closed")
    ] = 10
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Field(description="`json`, `text` for people, or `auto`: `text` on a terminal, otherwise `json`"),
    ] = "auto"
    log_requests: Annotated[bool, Field(description="log every request")] = False
    metrics_token: Annotated[
        SecretStr | None,
        NOT_EMPTY,
        Field(description="bearer token required by `/metrics`; default: no authentication"),
    ] = None
    traces: Annotated[
        bool,
        Field(
            description="export traces by OTLP to `OTEL_EXPORTER_OTLP_ENDPOINT`; requires the extra `otel`"
        ),
    ] = False

    @field_validator("trusted_proxies")
    @classmethod
    def _known_proxies(cls, text: str | None) -> str | None:
        try:
            for network in items(text):
                ip_network(network)
        except ValueError:
            raise ValueError("must be addresses and networks such as 10.0.0.7,10.1.0.0/16") from None
        return text

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, text: str | None) -> str | None:
        if not all(map(_ORIGIN.fullmatch, items(text))):
            raise ValueError("must be origins such as https://desk.example, without paths and wildcards")
        return text

    @model_validator(mode="after")
    def _certificate_with_its_key(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("TICKETS_TLS_CERT_FILE and TICKETS_TLS_KEY_FILE must be set together")
        return self

    @property
    def proxies(self) -> list[str]:
        """Return the addresses and networks of trusted_proxies."""
        return items(self.trusted_proxies)

    @property
    def origins(self) -> list[str]:
        """Return the origins of cors_origins."""
        return items(self.cors_origins)

    @property
    def hsts_max_age(self) -> int | None:
        """Return the max-age of Strict-Transport-Security; None: no header."""
        if self.hsts_seconds is None and self.tls_cert_file:
            return _YEAR_SECONDS
        return self.hsts_seconds
