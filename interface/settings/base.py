"""The base class and the common types of the groups of settings."""

from pathlib import Path
from typing import Annotated, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from application.shared.fields import mismatch

PREFIX = "TICKETS_"


def _refuse_empty(given: SecretStr | str | None) -> SecretStr | str | None:
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    if text is not None and not text.strip():
        raise ValueError("must not be empty: set a value or unset it")
    return given


# An empty token or key must not disable the protection.
NOT_EMPTY = AfterValidator(_refuse_empty)
HttpUrl = Annotated[str, Field(pattern=r"^https?://"), mismatch("must be an http:// or https:// URL")]


class Group(BaseSettings):
    """A group of settings; the description of each field is its documentation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_empty_path(cls, given: object, field: ValidationInfo) -> object:
        """Refuse an empty path, which would be the working directory."""
        kind = cls.model_fields[field.field_name or ""].annotation
        is_path = Path in (kind, *get_args(kind))
        return _refuse_empty(given) if is_path and isinstance(given, str) else given


def items(text: str | None) -> list[str]:
    """Return the items of a comma-separated list."""
    return [item.strip() for item in (text or "").split(",") if item.strip()]
