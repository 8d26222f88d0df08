"""The delivery of tickets: mails, letters and the mailer."""

from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from application.shared.fields import mismatch
from application.users.fields import Language
from domain.policies.policy import OFF
from interface.settings.base import NOT_EMPTY, Group, HttpUrl


class DeliverySettings(Group):
    """The delivery of tickets: mails, letters and the mailer."""

    deliver: Annotated[
        bool, Field(description="deliver tickets in the server process; if false, run `tickets deliver`")
    ] = True
    smtp_url: Annotated[
        SecretStr | None,
        NOT_EMPTY,
        Field(
            description="`smtp://user:password@host:587` (STARTTLS), `smtps://…` (TLS) or `smtp+plain://host:25` (unencrypted)"
        ),
    ] = None
    smtp_helo: Annotated[
        str | None,
        Field(
            max_length=255,
            pattern=r"^([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f.:IPv]+\])$",
            description="name of this host for the mail server (EHLO); default: its full domain name, or else the domain of"
            " `TICKETS_MAIL_FROM`",
        ),
        mismatch("must be a domain name such as tickets.bank.example, or an address such as [192.0.2.1]"),
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
        Language,
        Field(
            description="language for users without a language, or with one that has no templates",
        ),
    ] = "en"
    time_zone: Annotated[
        str, Field(description="time zone of the times in mails and letters to users without one")
    ] = "UTC"
    delivery_webhook_url: Annotated[
        HttpUrl | None,
        Field(
            description="URL of the mailer for the method Webhook; requires the mailer's key and a secret",
        ),
    ] = None
    delivery_webhook_key_file: Annotated[
        Path | None, Field(description="public key of the mailer (JWK) with which tickets are encrypted")
    ] = None
    delivery_webhook_secret: Annotated[
        SecretStr | None,
        NOT_EMPTY,
        Field(description="secret that signs requests to the mailer: `whsec_` and base64"),
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

    max_daily_deliveries: Annotated[
        int,
        Field(
            description="tickets of a user per UTC day, by creations and resets, unless the policy sets"
            " `maxDailyDeliveryCount`; -1: no limit",
        ),
    ] = 20

    @field_validator("max_daily_deliveries")
    @classmethod
    def _off_or_positive(cls, limit: int) -> int:
        if limit != OFF and limit < 1:
            raise ValueError("must be -1 (no limit) or at least 1")
        return limit

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (
            KeyError,
            ValueError,
            OSError,
        ):  # unknown, outside of the directory of zones, a directory in it
            raise ValueError("must be a time zone such as Europe/Zurich") from None
        return name

    @model_validator(mode="after")
    def _complete_mailer(self) -> Self:
        parts = (self.delivery_webhook_url, self.delivery_webhook_key_file, self.delivery_webhook_secret)
        if any(parts) and not all(parts):
            raise ValueError(
                "TICKETS_DELIVERY_WEBHOOK_URL, TICKETS_DELIVERY_WEBHOOK_KEY_FILE and TICKETS_DELIVERY_WEBHOOK_SECRET"
                " must be set together"
            )
        return self
