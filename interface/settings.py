"""Settings, from the environment (`TICKETS_*`); the README has the same table."""

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
# As browsers send it: scheme, host in lower case, and the port if it is not the scheme's own.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class InvalidSettings(Exception):
    """Settings that the service does not start with; the message is one line."""


class Settings(BaseSettings):
    """All that can be set; each field's description is its documentation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    database_url: Annotated[
        str, Field(description="`sqlite:///PATH` or `postgresql://…` as libpq takes it")
    ] = "sqlite:///var/tickets.db"
    read_database_url: Annotated[
        str | None,
        Field(
            pattern="^postgres(ql)?://",
            description="a standby, for reads that may be some seconds old: search, histories and the feed",
        ),
    ] = None
    migrate_at_start: Annotated[
        bool,
        Field(
            description="bring PostgreSQL's schema up to date at the start; else `tickets migrate` does. SQLite's always is"
        ),
    ] = False
    grace_seconds: Annotated[
        int,
        Field(ge=2, description="how long a server may take to answer what it has begun when it is stopped"),
    ] = 30
    tls_cert_file: Annotated[
        Path | None,
        Field(
            description="serve by TLS (1.2 or later), with this certificate and those that vouch for it, as PEM"
        ),
    ] = None
    tls_key_file: Annotated[Path | None, Field(description="its private key, as PEM, not encrypted")] = None
    hsts_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            description="for so long browsers shall insist on TLS; else a year with `TICKETS_TLS_CERT_FILE`, and not without",
        ),
    ] = None
    trusted_proxies: Annotated[
        str | None,
        Field(
            description="addresses and networks, separated by commas, whose `X-Forwarded-For` says who calls; else nobody's"
        ),
    ] = None
    cors_origins: Annotated[
        str | None,
        Field(
            description="origins, separated by commas, whose pages may call the service: such as `https://desk.example`"
        ),
    ] = None
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Field(description="`json`: an object per line; `text`: for people; `auto`: text on a terminal"),
    ] = "auto"
    log_requests: Annotated[bool, Field(description="log each request, too")] = False
    metrics_token: Annotated[
        SecretStr | None,
        Field(description="what `/metrics` wants as a bearer token; without it everybody may read them"),
    ] = None
    traces: Annotated[
        bool,
        Field(
            description="send traces by OTLP, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; needs the extra `otel`"
        ),
    ] = False
    deliver: Annotated[
        bool,
        Field(description="whether the server delivers tickets; `tickets deliver` does if not"),
    ] = True
    smtp_url: Annotated[
        SecretStr | None,
        Field(
            description="mail server: `smtp://user:password@host:587` (STARTTLS), `smtps://…` (TLS) or `smtp+plain://host:25`"
            " (neither)"
        ),
    ] = None
    smtp_ca_file: Annotated[
        Path | None,
        Field(description="who vouches for the mail server, as PEM; else those whom the system trusts"),
    ] = None
    smtp_timeout_seconds: Annotated[
        float, Field(gt=0, description="how long the mail server may take for a mail")
    ] = 120
    mail_dir: Annotated[
        Path, Field(description="without a mail server, each mail is an .eml file in this directory")
    ] = Path("var/mail")
    mail_from: Annotated[
        str, Field(description="sender of the mails, such as `Tickets <tickets@bank.example>`")
    ] = "tickets@localhost"
    letter_dir: Annotated[Path, Field(description="where PDFstore writes letters, for a printer")] = Path(
        "var/letters"
    )
    letter_window: Annotated[
        Literal["left", "right"],
        Field(description="where the envelope's window is: `left` (DIN 5008) or `right` (SN 010130)"),
    ] = "left"
    letter_sender: Annotated[
        str, Field(min_length=1, max_length=90, description="the sender, on one line above the address")
    ] = "Tickets"
    template_dir: Annotated[
        Path | None,
        Field(
            description="own texts, as `<client or _>/<language>/<kind>`: see `tickets templates check --help`"
        ),
    ] = None
    language: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$",
            description="of what is sent to users who have none, or one without texts",
        ),
    ] = "en"
    time_zone: Annotated[str, Field(description="of the times in mails and letters")] = "UTC"
    delivery_webhook_url: Annotated[
        str | None,
        Field(pattern=r"^https?://", description="the mailer of method Webhook; needs its key and a secret"),
    ] = None
    delivery_webhook_key_file: Annotated[
        Path | None, Field(description="the mailer's public key, a JWK, for which tickets are encrypted")
    ] = None
    delivery_webhook_secret: Annotated[
        SecretStr | None, Field(description="signs what is sent to the mailer: `whsec_` and base64")
    ] = None
    delivery_retry_seconds: Annotated[
        float, Field(gt=0, description="wait before the second try; then twice as long each time …")
    ] = 30
    delivery_longest_wait_seconds: Annotated[float, Field(gt=0, description="… up to this")] = 3600
    delivery_give_up_hours: Annotated[
        float, Field(gt=0, description="a method that failed for so long is given up for the next one")
    ] = 24
    delivery_lease_seconds: Annotated[
        float, Field(ge=1, description="how long a ticket waits whose process died while it delivered it")
    ] = 30
    outbox_key: Annotated[
        SecretStr | None,
        Field(
            description="keys of the outbox, 32 bytes in base64 each; the first seals, all open; instead of the file"
        ),
    ] = None
    outbox_key_command: Annotated[
        str | None,
        Field(description="command that prints them, run once at the start; instead of the file"),
    ] = None
    outbox_key_file: Annotated[
        Path, Field(description="keys of the outbox; made on the first start, read again when it changes")
    ] = Path("var/keys/outbox.key")
    token_key_file: Annotated[
        Path, Field(description="the service's own Ed25519 key for tokens; made on the first start")
    ] = Path("var/keys/token.pem")
    jwks_url: Annotated[
        str | None, Field(description="key set of the token issuer; replaces the own key")
    ] = None
    jwks_file: Annotated[Path | None, Field(description="the same from a file")] = None
    jwks_lifespan_seconds: Annotated[int, Field(ge=1, description="how long a fetched key set is used")] = 300
    jwks_cooldown_seconds: Annotated[
        int, Field(ge=0, description="at most one fetch per so many seconds for unknown keys")
    ] = 30
    token_issuer: Annotated[str, Field(min_length=1, description="`iss` that tokens must have")] = _OWN
    token_audience: Annotated[str, Field(min_length=1, description="`aud` that tokens must have")] = _OWN
    rate_limit_per_caller: Annotated[
        str,
        Field(
            description="verifications and resets of one caller, per process: such as `100/second`, or `off`"
        ),
    ] = "60000/minute"
    rate_limit_per_credential: Annotated[
        str,
        Field(
            description="verifications and resets of one ticket, per process: such as `10/minute`, or `off`"
        ),
    ] = "600/minute"
    public_url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^/?#\s]+(?:/[^?#\s]*[^/?#\s])?$",
            description="under which URL callers reach the service; its transmitters of security events are named by it",
        ),
    ] = "http://127.0.0.1:8000"
    set_key_file: Annotated[
        Path,
        Field(
            description="the RSA keys that sign security events, the first of them; made on the first start"
        ),
    ] = Path("var/keys/set.pem")
    ledger_name: Annotated[
        str,
        Field(
            min_length=1,
            pattern=r"^[^\s+]+$",
            description="name of the ledger keys, and what the origin of each client's ledger begins with",
        ),
    ] = "tickets"
    ledger_key_dir: Annotated[
        Path,
        Field(description="the Ed25519 keys that sign checkpoints and evidence; made on the first start"),
    ] = Path("var/keys/ledger")
    ledger_key_overlap_days: Annotated[
        int, Field(ge=0, description="how long the key before signs, too, after `tickets keys rotate`")
    ] = 30
    checkpoint_every_events: Annotated[
        int, Field(ge=1, description="a client's ledger is signed when it has grown by so many entries …")
    ] = 1000
    checkpoint_every_seconds: Annotated[
        int, Field(ge=1, description="… or has grown at all, after so long")
    ] = 60
    checkpoint_dir: Annotated[
        Path | None,
        Field(description="checkpoints are also written here: a directory out of the operator's reach"),
    ] = None
    checkpoint_webhook: Annotated[
        str | None, Field(pattern=r"^https?://", description="checkpoints are also sent here, by POST")
    ] = None
    checkpoint_tsa: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="time stamp authority (RFC 3161) that stamps checkpoints; needs TICKETS_CHECKPOINT_DIR",
        ),
    ] = None
    expiry_every_seconds: Annotated[
        int, Field(ge=1, description="how often the server looks for tickets that end soon or have ended")
    ] = 600
    request_patience_seconds: Annotated[
        int, Field(ge=1, description="a caller whose request has not come whole within so long is cut off")
    ] = 20
    stream_patience_seconds: Annotated[
        int, Field(ge=1, description="a reader of a stream that takes nothing for so long is cut off")
    ] = 10
    push: Annotated[
        bool, Field(description="whether this process may push to subscriptions; one of those that may does")
    ] = True
    push_private_hosts: Annotated[
        str | None,
        Field(
            description="hosts that subscriptions may name although they are in a private network or are reached by http,"
            " separated by commas"
        ),
    ] = None
    push_timeout_seconds: Annotated[
        float, Field(gt=0, description="how long a subscriber may take to answer")
    ] = 15
    push_retry_seconds: Annotated[
        float, Field(gt=0, description="wait before the second try; then twice as long each time …")
    ] = 5
    push_longest_wait_seconds: Annotated[float, Field(gt=0, description="… up to this")] = 21_600
    push_give_up_hours: Annotated[
        float, Field(gt=0, description="a subscription that failed for so long is parked")
    ] = 72
    max_waiting: Annotated[
        int, Field(ge=1, description="commands that may wait before callers get a 503")
    ] = 2048
    max_batch: Annotated[
        int, Field(ge=1, le=1024, description="commands that one transaction takes at most")
    ] = 128
    secrets_dir: Annotated[
        Path | None,
        Field(
            description="directory of files named like settings (`tickets_database_url`) for those that the environment does"
            " not have"
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
        # Taken for none at all, it would leave open what it is to close.
        if text is not None and not text.strip():
            raise ValueError("is empty: give it a value, or take it away")
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
            raise ValueError("must be origins such as https://desk.example, without a path, and none for all")
        return text

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("is no time zone such as Europe/Zurich")
        return name

    @model_validator(mode="after")
    def _one_source_of_outbox_keys(self) -> Self:
        if self.outbox_key and self.outbox_key_command:
            raise ValueError("TICKETS_OUTBOX_KEY and TICKETS_OUTBOX_KEY_COMMAND exclude each other")
        return self

    @model_validator(mode="after")
    def _certificate_with_its_key(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("TICKETS_TLS_CERT_FILE and TICKETS_TLS_KEY_FILE belong together")
        return self

    @model_validator(mode="after")
    def _whole_mailer(self) -> Self:
        parts = (self.delivery_webhook_url, self.delivery_webhook_key_file, self.delivery_webhook_secret)
        if any(parts) and not all(parts):
            raise ValueError(
                "TICKETS_DELIVERY_WEBHOOK_URL, TICKETS_DELIVERY_WEBHOOK_KEY_FILE and TICKETS_DELIVERY_WEBHOOK_SECRET"
                " belong together"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if self.jwks_url and self.jwks_file:
            raise ValueError("TICKETS_JWKS_URL and TICKETS_JWKS_FILE exclude each other")
        named = {"token_issuer", "token_audience"} <= self.model_fields_set
        if (self.jwks_url or self.jwks_file) and not named:
            raise ValueError("with a key set, TICKETS_TOKEN_ISSUER and TICKETS_TOKEN_AUDIENCE must be set")
        return self

    @model_validator(mode="after")
    def _stamps_are_kept(self) -> Self:
        if self.checkpoint_tsa and not self.checkpoint_dir:
            raise ValueError("TICKETS_CHECKPOINT_TSA needs TICKETS_CHECKPOINT_DIR, where the stamps are kept")
        return self

    @model_validator(mode="after")
    def _standby_of_a_server(self) -> Self:
        if self.read_database_url and self.sqlite_path:
            raise ValueError("TICKETS_READ_DATABASE_URL needs PostgreSQL: SQLite has no standby")
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
        """Return for how long browsers shall insist on TLS, None where nothing is to be said of it."""
        if self.hsts_seconds is None and self.tls_cert_file:
            return _YEAR_SECONDS
        return self.hsts_seconds

    @property
    def sqlite_path(self) -> Path | None:
        """Return the path of the SQLite file, or None for PostgreSQL."""
        url = self.database_url
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def read_settings() -> Settings:
    """Return the settings of the environment. Raises InvalidSettings with one clear line."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name for name in os.environ if name.startswith(PREFIX) and not name.startswith(_TEST_PREFIX)}
    secrets_dir = os.environ.get(f"{PREFIX}SECRETS_DIR")
    given |= _secret_files(secrets_dir) if secrets_dir else set()
    if unknown := sorted(given - known):
        raise InvalidSettings(f"{', '.join(unknown)}: no such setting; the README lists them")
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
    """Return the settings that a directory of secrets has files for; a mounted one has other entries, too."""
    try:
        names = {entry.name.upper() for entry in Path(directory).iterdir()}
    except OSError as error:
        raise InvalidSettings(f"{PREFIX}SECRETS_DIR: {error}") from None
    return {name for name in names if name.startswith(PREFIX)}
