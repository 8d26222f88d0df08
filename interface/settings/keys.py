"""The keys of the outbox, of tokens and of security event tokens."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from interface.outbound.keys.outbox_keys import parse_outbox_keys
from interface.settings.base import NOT_EMPTY, Group

_OWN = "tickets"


class KeySettings(Group):
    """The keys of the outbox, of tokens and of security event tokens."""

    outbox_key: Annotated[
        SecretStr | None,
        NOT_EMPTY,
        Field(
            description="comma-separated outbox keys (32 bytes, base64); the first encrypts, all decrypt; replaces the file"
        ),
    ] = None
    outbox_key_command: Annotated[
        str | None,
        NOT_EMPTY,
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
        str | None,
        NOT_EMPTY,
        Field(
            description="URL of the token issuer's key set; replaces the service's own key, requires `TICKETS_TOKEN_ISSUER` and `TICKETS_TOKEN_AUDIENCE`, excludes `TICKETS_JWKS_FILE`"
        ),
    ] = None
    jwks_file: Annotated[
        Path | None,
        Field(description="file of the token issuer's key set; like `TICKETS_JWKS_URL`, which it excludes"),
    ] = None
    jwks_lifespan_seconds: Annotated[
        int, Field(ge=1, description="a fetched key set is fetched again before this age")
    ] = 300
    jwks_stale_seconds: Annotated[
        int,
        Field(
            ge=0,
            description="how long the keys are accepted beyond that age while the key set cannot be fetched",
        ),
    ] = 86_400
    jwks_cooldown_seconds: Annotated[
        int, Field(ge=0, description="minimum interval between fetches of the key set for unknown keys")
    ] = 30
    token_type: Annotated[
        Literal["any", "at+jwt"],
        Field(
            description="accepted `typ` of tokens: `at+jwt` only, or `any`: also `JWT` or none, unless claims show another"
            " kind of token"
        ),
    ] = "any"  # noqa: S105 - not a secret
    token_issuer: Annotated[str, Field(min_length=1, description="required `iss` of tokens")] = _OWN
    token_audience: Annotated[str, Field(min_length=1, description="required `aud` of tokens")] = _OWN
    set_key_file: Annotated[
        Path,
        Field(
            description="RSA keys for security event tokens, of which the first signs; created at the first start"
        ),
    ] = Path("var/keys/set.pem")

    @field_validator("outbox_key")
    @classmethod
    def _good_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            parse_outbox_keys(keys.get_secret_value())
        return keys

    @model_validator(mode="after")
    def _one_source_of_outbox_keys(self) -> Self:
        if self.outbox_key and self.outbox_key_command:
            raise ValueError("TICKETS_OUTBOX_KEY and TICKETS_OUTBOX_KEY_COMMAND are mutually exclusive")
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
