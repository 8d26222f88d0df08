"""Request bodies and responses of the subscription routes."""

import re
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema

from application.feed.feed import TYPES
from application.shared.fields import Comment, integral
from application.subscriptions.read_subscriptions import SubscriptionResponse
from interface.http.core.paging import POSITIVE
from interface.http.core.path import ID_SCHEMA
from interface.http.core.schemas import StrictBody

SubscriptionName = Annotated[
    str, Path(description="Name of the subscription.", examples=["siem"], json_schema_extra=ID_SCHEMA)
]
FromPosition = Annotated[
    str,
    POSITIVE,
    Query(alias="from", description="The position of the first event to send again."),
]


# Standard Webhooks, "Symmetric": 24 to 64 bytes. Complete groups of base64, so that every match can be decoded.
_GROUP, _ONE_MORE, _TWO_MORE = "[A-Za-z0-9+/]{4}", "[A-Za-z0-9+/]{2}==", "[A-Za-z0-9+/]{3}="
_WEBHOOK_SECRET = re.compile(
    f"^whsec_(?:(?:{_GROUP}){{8,20}}(?:{_ONE_MORE}|{_TWO_MORE})?|(?:{_GROUP}){{21}}(?:{_ONE_MORE})?)$"
)


def _webhook_secret(secret: SecretStr | None) -> SecretStr | None:
    if secret and not _WEBHOOK_SECRET.fullmatch(secret.get_secret_value()):
        raise ValueError("give whsec_ and 24 to 64 bytes in base64, padded")
    return secret


def _event_type(name: str) -> str:
    if name not in TYPES:
        raise ValueError(f"unknown event type; expected one of {', '.join(TYPES)}")
    return name


EventType = Annotated[str, AfterValidator(_event_type), WithJsonSchema({"type": "string", "enum": [*TYPES]})]
_BatchSize = Annotated[int, Field(ge=1, le=1000, strict=True), BeforeValidator(integral)]
_Position = Annotated[int, Field(ge=0, lt=2**63, strict=True), BeforeValidator(integral)]


class SubscriptionBody(StrictBody):
    """A complete subscription: a webhook and its events."""

    url: Annotated[
        SecretStr,
        Field(
            min_length=1,
            max_length=2000,
            description="The https URL of the receiver. Only its scheme, host and port are ever shown.",
        ),
    ]
    types: Annotated[
        list[EventType] | None,
        Field(min_length=1, description="Only events of these types; null for all."),
    ] = None
    batchSize: Annotated[
        _BatchSize, Field(description="1: one event per request; above 1: a batch of at most this size.")
    ] = 1
    after: Annotated[
        _Position | None,
        Field(description="A new subscription begins after this position; null: with the next event."),
    ] = None
    secret: Annotated[
        SecretStr | None,
        AfterValidator(_webhook_secret),
        Field(
            json_schema_extra={"pattern": _WEBHOOK_SECRET.pattern},
            description="The signing secret of Standard Webhooks: 24 to 64 bytes in base64, prefixed by `whsec_`. The "
            "previous secret also signs for 24 hours. null: keep the secret, or let the service create one.",
        ),
    ] = None
    modificationComment: Comment | None = None


class DefinedSubscription(SubscriptionResponse):
    """A subscription as it was defined."""

    secret: Annotated[
        str | None, Field(description="The secret that the service created; returned only once.")
    ] = None
