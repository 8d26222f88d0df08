"""Settings, from the environment (`TICKETS_*`); docs/settings.md has the same table."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

import psycopg
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from interface.outbound.keys.outbox_keys import parse_outbox_keys
from interface.outbound.sql.postgres_connections import connection_options

PREFIX = "TICKETS_"
# Read by the test suite, not by the service.
_TEST_PREFIX = "TICKETS_TEST_"
_OWN = "tickets"
_YEAR_SECONDS = 31_536_000
# In the form that browsers send: scheme, host in lower case, and the port if it is not the default of the scheme.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class InvalidSettings(Exception):
    """The settings are invalid; the message is one line."""


class Settings(BaseSettings):
    """All settings; the description of each field is its documentation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    database_url: Annotated[
        str, Field(description="`sqlite:///PATH`, or `postgresql://…` in the libpq format")
    ] = "sqlite:///var/tickets.db"
    read_database_url: Annotated[
        str | None,
        Field(
            pattern="^postgres(ql)?://",
            description="PostgreSQL standby for reads that may lag by seconds: search, histories, feed",
        ),
    ] = None
    migrate_at_start: Annotated[
        bool,
        Field(
            description="migrate PostgreSQL at the start instead of by `tickets migrate`; SQLite always migrates at the start"
        ),
    ] = False
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
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Field(description="`json`, `text` for people, or `auto`: `text` on a terminal, otherwise `json`"),
    ] = "auto"
    log_requests: Annotated[bool, Field(description="log every request")] = False
    metrics_token: Annotated[
        SecretStr | None, Field(description="bearer token required by `/metrics`; default: no authentication")
    ] = None
    traces: Annotated[
        bool,
        Field(
            description="export traces by OTLP to `OTEL_EXPORTER_OTLP_ENDPOINT`; requires the extra `otel`"
        ),
    ] = False
    deliver: Annotated[
        bool, Field(description="deliver tickets in the server process; if false, run `tickets deliver`")
    ] = True
    smtp_url: Annotated[
        SecretStr | None,
        Field(
            description="`smtp://user:password@host:587` (STARTTLS), `smtps://…` (TLS) or `smtp+plain://host:25` (unencrypted)"
        ),
    ] = None
    smtp_ca_file: Annotated[
        Path | None,
        Field(description="CA certificates for the mail server (PEM); default: the system's CA certificates"),
    ] = None
    smtp_timeout_seconds: Annotated[float, Field(gt=0, description="time limit for sending one mail")] = 120
    mail_dir: Annotated[
        Path, Field(description="directory for mails as .eml files if there is no mail server")
    ] = Path("var/mail")
    mail_from: Annotated[
        str, Field(description="sender of mails, such as `Tickets <tickets@bank.example>`")
    ] = "tickets@localhost"
    letter_dir: Annotated[
        Path, Field(description="directory to which the method PDFstore writes letters for printing")
    ] = Path("var/letters")
    letter_window: Annotated[
        Literal["left", "right"],
        Field(description="position of the envelope's window: `left` (DIN 5008) or `right` (SN 010130)"),
    ] = "left"
    letter_sender: Annotated[
        str, Field(min_length=1, max_length=90, description="sender, printed on one line above the address")
    ] = "Tickets"
    template_dir: Annotated[
        Path | None, Field(description="directory of custom templates: see `tickets templates check --help`")
    ] = None
    language: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$",
            description="language for users without a language, or with one that has no templates",
        ),
    ] = "en"
    time_zone: Annotated[str, Field(description="time zone of the times in mails and letters")] = "UTC"
    delivery_webhook_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="URL of the mailer for the method Webhook; requires the mailer's key and a secret",
        ),
    ] = None
    delivery_webhook_key_file: Annotated[
        Path | None, Field(description="public key of the mailer (JWK) with which tickets are encrypted")
    ] = None
    delivery_webhook_secret: Annotated[
        SecretStr | None, Field(description="secret that signs requests to the mailer: `whsec_` and base64")
    ] = None
    delivery_retry_seconds: Annotated[
        float, Field(gt=0, description="delay before the first retry; doubles with every retry …")
    ] = 30
    delivery_longest_wait_seconds: Annotated[float, Field(gt=0, description="… up to this")] = 3600
    delivery_give_up_hours: Annotated[
        float,
        Field(gt=0, description="time after which a failing delivery method is replaced by the next one"),
    ] = 24
    delivery_lease_seconds: Annotated[
        float, Field(ge=1, description="delivery lease; an interrupted delivery is retried after it")
    ] = 30
    outbox_key: Annotated[
        SecretStr | None,
        Field(
            description="comma-separated outbox keys (32 bytes, base64); the first encrypts, all decrypt; replaces the file"
        ),
    ] = None
    outbox_key_command: Annotated[
        str | None,
        Field(description="command that prints the outbox keys, run once at the start; replaces the file"),
    ] = None
    outbox_key_file: Annotated[
        Path,
        Field(description="file of the outbox keys; created at the first start, reloaded when it changes"),
    ] = Path("var/keys/outbox.key")
    token_key_file: Annotated[
        Path,
        Field(
            description="Ed25519 key that signs and verifies the service's own tokens; created at the first start"
        ),
    ] = Path("var/keys/token.pem")
    jwks_url: Annotated[
        str | None, Field(description="URL of the token issuer's key set; replaces the service's own key")
    ] = None
    jwks_file: Annotated[
        Path | None, Field(description="file of the token issuer's key set; replaces the service's own key")
    ] = None
    jwks_lifespan_seconds: Annotated[int, Field(ge=1, description="cache lifetime of a fetched key set")] = (
        300
    )
    jwks_cooldown_seconds: Annotated[
        int, Field(ge=0, description="minimum interval between fetches of the key set for unknown keys")
    ] = 30
    token_issuer: Annotated[str, Field(min_length=1, description="required `iss` of tokens")] = _OWN
    token_audience: Annotated[str, Field(min_length=1, description="required `aud` of tokens")] = _OWN
    rate_limit_per_caller: Annotated[
        str,
        Field(
            description="limit on verifications and resets per caller and process, such as `100/second`, or `off`"
        ),
    ] = "60000/minute"
    rate_limit_per_credential: Annotated[
        str,
        Field(
            description="limit on verifications and resets per credential and process, such as `10/minute`, or `off`"
        ),
    ] = "600/minute"
    public_url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^/?#\s]+(?:/[^?#\s]*[^/?#\s])?$",
            description="public base URL of the service; also the issuer of its security event streams",
        ),
    ] = "http://127.0.0.1:8000"
    set_key_file: Annotated[
        Path,
        Field(
            description="RSA keys for security event tokens, of which the first signs; created at the first start"
        ),
    ] = Path("var/keys/set.pem")
    ledger_name: Annotated[
        str,
        Field(
            min_length=1,
            pattern=r"^[^\s+]+$",
            description="name of the ledger keys, and prefix of the origin of each client's ledger",
        ),
    ] = "tickets"
    ledger_key_dir: Annotated[
        Path,
        Field(
            description="directory of the Ed25519 keys that sign checkpoints and evidence; created at the first start"
        ),
    ] = Path("var/keys/ledger")
    ledger_key_overlap_days: Annotated[
        int, Field(ge=0, description="time for which the previous key also signs after `tickets keys rotate`")
    ] = 30
    checkpoint_every_events: Annotated[
        int, Field(ge=1, description="sign a client's ledger after this many new entries …")
    ] = 1000
    checkpoint_every_seconds: Annotated[
        int, Field(ge=1, description="… or, if there are any new entries, after this time")
    ] = 60
    checkpoint_dir: Annotated[
        Path | None, Field(description="directory for copies of checkpoints, outside the operator's control")
    ] = None
    checkpoint_webhook: Annotated[
        str | None, Field(pattern=r"^https?://", description="URL to which checkpoints are posted")
    ] = None
    checkpoint_tsa: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="time stamp authority (RFC 3161) for checkpoints; requires `TICKETS_CHECKPOINT_DIR`",
        ),
    ] = None
    expiry_every_seconds: Annotated[
        int, Field(ge=1, description="interval between searches for tickets that expire soon or have expired")
    ] = 600
    request_patience_seconds: Annotated[
        int, Field(ge=1, description="time limit for receiving a request; slower connections are closed")
    ] = 20
    stream_patience_seconds: Annotated[
        int, Field(ge=1, description="time after which the connection of a stalled stream reader is closed")
    ] = 10
    push: Annotated[bool, Field(description="eligible to push to subscriptions; one process is elected")] = (
        True
    )
    push_private_hosts: Annotated[
        str | None,
        Field(
            description="comma-separated subscriber hosts that may have private addresses or use plain http"
        ),
    ] = None
    push_timeout_seconds: Annotated[
        float, Field(gt=0, description="time limit for a subscriber's response")
    ] = 15
    push_retry_seconds: Annotated[
        float, Field(gt=0, description="delay before the first retry; doubles with every retry …")
    ] = 5
    push_longest_wait_seconds: Annotated[float, Field(gt=0, description="… up to this")] = 21_600
    push_give_up_hours: Annotated[
        float, Field(gt=0, description="time after which a failing subscription is parked")
    ] = 72
    max_waiting: Annotated[
        int, Field(ge=1, description="maximum number of queued commands; beyond it, callers get a 503")
    ] = 2048
    max_batch: Annotated[
        int, Field(ge=1, le=1024, description="maximum number of commands per transaction")
    ] = 128
    secrets_dir: Annotated[
        Path | None,
        Field(
            description="directory of files named like settings (`tickets_smtp_url`); the environment takes precedence"
        ),
    ] = None

    @field_validator("database_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql://", "postgres://")) or url == "sqlite:///":
            raise ValueError("must be sqlite:///PATH or postgresql://…")
        return url

    @field_validator("read_database_url")
    @classmethod
    def _known_standby(cls, url: str | None) -> str | None:
        try:
            connection_options(url or "")
        except psycopg.ProgrammingError as error:
            raise ValueError(str(error)) from None
        return url

    @field_validator(
        "metrics_token", "smtp_url", "delivery_webhook_secret", "outbox_key", "outbox_key_command"
    )
    @classmethod
    def _no_empty_secret(cls, given: SecretStr | str | None) -> SecretStr | str | None:
        text = given.get_secret_value() if isinstance(given, SecretStr) else given
        # An empty token or key must not disable the protection.
        if text is not None and not text.strip():
            raise ValueError("must not be empty: set a value or unset it")
        return given

    @field_validator("outbox_key")
    @classmethod
    def _good_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            parse_outbox_keys(keys.get_secret_value())
        return keys

    @field_validator("trusted_proxies")
    @classmethod
    def _known_proxies(cls, text: str | None) -> str | None:
        try:
            for network in _listed(text):
                ip_network(network)
        except ValueError as error:
            raise ValueError(f"{error}; must be such as 10.0.0.7,10.1.0.0/16") from None
        return text

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, text: str | None) -> str | None:
        if not all(map(_ORIGIN.fullmatch, _listed(text))):
            raise ValueError("must be origins such as https://desk.example, without paths and wildcards")
        return text

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("must be a time zone such as Europe/Zurich")
        return name

    @model_validator(mode="after")
    def _one_source_of_outbox_keys(self) -> Self:
        if self.outbox_key and self.outbox_key_command:
            raise ValueError("TICKETS_OUTBOX_KEY and TICKETS_OUTBOX_KEY_COMMAND are mutually exclusive")
        return self

    @model_validator(mode="after")
    def _certificate_with_its_key(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("TICKETS_TLS_CERT_FILE and TICKETS_TLS_KEY_FILE must be set together")
        return self

    @model_validator(mode="after")
    def _complete_mailer(self) -> Self:
        parts = (self.delivery_webhook_url, self.delivery_webhook_key_file, self.delivery_webhook_secret)
        if any(parts) and not all(parts):
            raise ValueError(
                "TICKETS_DELIVERY_WEBHOOK_URL, TICKETS_DELIVERY_WEBHOOK_KEY_FILE and TICKETS_DELIVERY_WEBHOOK_SECRET"
                " must be set together"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if self.jwks_url and self.jwks_file:
            raise ValueError("TICKETS_JWKS_URL and TICKETS_JWKS_FILE are mutually exclusive")
        named = {"token_issuer", "token_audience"} <= self.model_fields_set
        if (self.jwks_url or self.jwks_file) and not named:
            raise ValueError(
                "TICKETS_JWKS_URL and TICKETS_JWKS_FILE require TICKETS_TOKEN_ISSUER and TICKETS_TOKEN_AUDIENCE"
            )
        return self

    @model_validator(mode="after")
    def _directory_for_stamps(self) -> Self:
        if self.checkpoint_tsa and not self.checkpoint_dir:
            raise ValueError("TICKETS_CHECKPOINT_TSA requires TICKETS_CHECKPOINT_DIR, to store the stamps")
        return self

    @model_validator(mode="after")
    def _standby_of_a_server(self) -> Self:
        if self.read_database_url and self.sqlite_path:
            raise ValueError("TICKETS_READ_DATABASE_URL requires PostgreSQL: SQLite has no standby")
        return self

    @property
    def private_hosts(self) -> frozenset[str]:
        """Return the hosts of push_private_hosts."""
        return frozenset(host.lower() for host in _listed(self.push_private_hosts))

    @property
    def proxies(self) -> list[str]:
        """Return the addresses and networks of trusted_proxies."""
        return _listed(self.trusted_proxies)

    @property
    def origins(self) -> list[str]:
        """Return the origins of cors_origins."""
        return _listed(self.cors_origins)

    @property
    def hsts_max_age(self) -> int | None:
        """Return the max-age of Strict-Transport-Security; None: no header."""
        if self.hsts_seconds is None and self.tls_cert_file:
            return _YEAR_SECONDS
        return self.hsts_seconds

    @property
    def sqlite_path(self) -> Path | None:
        """Return the path of the SQLite file, or None for PostgreSQL."""
        url = self.database_url
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def read_settings() -> Settings:
    """Return the settings of the environment. Raises InvalidSettings with a message of one line."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name for name in os.environ if name.startswith(PREFIX) and not name.startswith(_TEST_PREFIX)}
    secrets_dir = os.environ.get(f"{PREFIX}SECRETS_DIR")
    given |= _secret_files(secrets_dir) if secrets_dir else set()
    if unknown := sorted(given - known):
        raise InvalidSettings(f"{', '.join(unknown)}: unknown setting; docs/settings.md lists them")
    try:
        return Settings(_secrets_dir=secrets_dir)
    except OSError as error:
        raise InvalidSettings(f"{PREFIX}SECRETS_DIR: {error}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = PREFIX + str(fault["loc"][0]).upper() + ": " if fault["loc"] else ""
        raise InvalidSettings(name + fault["msg"].removeprefix("Value error, ")) from None


def _listed(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def _secret_files(directory: str) -> set[str]:
    """Return the settings with a file in a directory of secrets; a mounted directory has other entries, too."""
    try:
        names = {entry.name.upper() for entry in Path(directory).iterdir()}
    except OSError as error:
        raise InvalidSettings(f"{PREFIX}SECRETS_DIR: {error}") from None
    return {name for name in names if name.startswith(PREFIX)}
