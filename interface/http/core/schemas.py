"""What callers send."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
)

from application.feed.feed import TYPES
from application.shared.fields import Comment, ExtId, UserFields
from domain.policies.policy import DEFAULT_POLICY, HashAlgorithm, SendingMethod, TicketPolicy

# Standard Webhooks, "Symmetric": 24 to 64 bytes. Whole groups of base64, so that what fits also decodes.
_GROUP, _ONE_MORE, _TWO_MORE = "[A-Za-z0-9+/]{4}", "[A-Za-z0-9+/]{2}==", "[A-Za-z0-9+/]{3}="
_WEBHOOK_SECRET = re.compile(
    f"^whsec_(?:(?:{_GROUP}){{8,20}}(?:{_ONE_MORE}|{_TWO_MORE})?|(?:{_GROUP}){{21}}(?:{_ONE_MORE})?)$"
)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("give a date and time with its offset (RFC 3339), such as 2026-11-23T09:42:00Z")
    return value


def whole(value: object) -> object:
    """Return a number that is whole as an integer; whatever else it is, pydantic judges."""
    # To JSON, 7.0 is an integer; a text or a truth value is not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the date is beyond the calendar") from None


def _webhook_secret(secret: SecretStr | None) -> SecretStr | None:
    if secret and not _WEBHOOK_SECRET.fullmatch(secret.get_secret_value()):
        raise ValueError("give whsec_ and 24 to 64 bytes in base64, padded")
    return secret


def _event_type(name: str) -> str:
    if name not in TYPES:
        raise ValueError(f"there is no such type; there are {', '.join(TYPES)}")
    return name


EventType = Annotated[str, AfterValidator(_event_type), WithJsonSchema({"type": "string", "enum": [*TYPES]})]
Date = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_to_utc)]

# A signed 64-bit number, as every store keeps it; the policy's own rules are narrower, and say why.
_Int = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True), BeforeValidator(whole)]


_BatchSize = Annotated[int, Field(ge=1, le=1000, strict=True), BeforeValidator(whole)]
_Position = Annotated[int, Field(ge=0, lt=2**63, strict=True), BeforeValidator(whole)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ResetBody(_Body):
    """What may be said with a reset."""

    modificationComment: Comment | None = None


class ValidityBody(_Body):
    """From when until when; what is left out is decided by the policy."""

    from_: Annotated[Date | None, Field(alias="from")] = None
    to: Date | None = None


class CreateBody(_Body):
    """A first ticket; what is left out is decided by the service or the policy."""

    extId: ExtId | None = None
    policyExtId: ExtId | None = None
    stateName: Literal["active", "disabled", "archived"] = "active"
    modificationComment: Comment | None = None
    validity: ValidityBody | None = None


class UserBody(UserFields):
    """A user, whole."""


class PatchBody(_Body):
    """What to change; what is left out, or null, stays."""

    stateName: Literal["active", "disabled", "archived"] | None = None
    modificationComment: Comment | None = None
    version: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True), BeforeValidator(whole)] | None = None
    policyExtId: ExtId | None = None
    validity: ValidityBody | None = None


class VerifyBody(_Body):
    """The ticket that somebody presents."""

    ticket: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


class ParametersBody(_Body):
    """The parameters of a policy; what is left out is as in the built-in policy."""

    ticketLength: _Int = DEFAULT_POLICY.ticket_length
    ticketCharacterSet: str = DEFAULT_POLICY.ticket_character_set
    hashAlgorithm: HashAlgorithm = DEFAULT_POLICY.hash_algorithm
    credentialLifetime: Annotated[_Int, Field(description="Milliseconds.")] = (
        DEFAULT_POLICY.credential_lifetime
    )
    maxCredFailureCount: Annotated[_Int, Field(description="-1: off.")] = (
        DEFAULT_POLICY.max_cred_failure_count
    )
    tmpLockingThreshold: Annotated[_Int, Field(description="-1: off.")] = DEFAULT_POLICY.tmp_locking_threshold
    tmpLockingDuration: Annotated[_Int, Field(description="Milliseconds.")] = (
        DEFAULT_POLICY.tmp_locking_duration
    )
    reusable: Annotated[bool, Field(strict=True)] = DEFAULT_POLICY.reusable
    sendingMethod: Annotated[
        list[SendingMethod], Field(description="In order; each next is tried where one fails.")
    ] = [*DEFAULT_POLICY.sending_method]
    closeToExpirationThreshold: Annotated[_Int, Field(description="Days; -1: off.")] = (
        DEFAULT_POLICY.close_to_expiration_threshold
    )

    def policy(self) -> TicketPolicy:
        """Return the parameters as the domain has them, unchecked."""
        return TicketPolicy(
            ticket_length=self.ticketLength,
            ticket_character_set=self.ticketCharacterSet,
            hash_algorithm=self.hashAlgorithm,
            credential_lifetime=self.credentialLifetime,
            max_cred_failure_count=self.maxCredFailureCount,
            tmp_locking_threshold=self.tmpLockingThreshold,
            tmp_locking_duration=self.tmpLockingDuration,
            reusable=self.reusable,
            sending_method=tuple(self.sendingMethod),
            close_to_expiration_threshold=self.closeToExpirationThreshold,
        )


class SubscriptionBody(_Body):
    """A subscription, whole: a webhook and what it gets."""

    url: Annotated[
        SecretStr,
        Field(
            min_length=1,
            max_length=2000,
            description="Where to, by https. Only its scheme, host and port are ever shown.",
        ),
    ]
    types: Annotated[
        list[EventType] | None,
        Field(min_length=1, description="Only events of these types; null for all."),
    ] = None
    batchSize: Annotated[
        _BatchSize, Field(description="1: an event per request; above: a batch of at most so many.")
    ] = 1
    after: Annotated[
        _Position | None,
        Field(
            description="A new subscription begins after this position; null: with what happens from now on."
        ),
    ] = None
    secret: Annotated[
        SecretStr | None,
        AfterValidator(_webhook_secret),
        Field(
            json_schema_extra={"pattern": _WEBHOOK_SECRET.pattern},
            description="Signs, as Standard Webhooks has it: 24 to 64 bytes in base64 behind `whsec_`. One that is new "
            "takes the place of the one before, which signs, too, for 24 hours. null: it stays, or the service makes one.",
        ),
    ] = None
    modificationComment: Comment | None = None


class CommentBody(_Body):
    """Why."""

    modificationComment: Comment | None = None


class PolicyBody(_Body):
    """A policy, whole."""

    parameters: ParametersBody = ParametersBody()
    defaultPolicy: Annotated[bool, Field(strict=True)] = False
    modificationComment: Comment | None = None
