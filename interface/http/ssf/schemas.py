"""Request bodies of receivers, whose unknown fields are ignored, and responses (Shared Signals, RFC 8936)."""

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema
from typing_extensions import TypedDict

from application.shared.fields import Comment, integral
from application.subscriptions.records import Target
from application.subscriptions.security_stream import POLL, PUSH
from domain.subscriptions.subscription import Method, Terms
from interface.http.core.path import ID_SCHEMA

StreamName = Annotated[str, Field(min_length=1, max_length=50)]
_Uri = Annotated[str, Field(min_length=1, max_length=200)]

StreamId = Annotated[str, Path(description="Id of the stream.", json_schema_extra=ID_SCHEMA)]

StreamIdFilter = Annotated[
    str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 50}), Query(description="The stream.")
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")


class PushBody(_Body):
    """Tokens are pushed to a URL, with the requested Authorization header."""

    method: Literal["urn:ietf:rfc:8935"]
    endpoint_url: Annotated[SecretStr, Field(min_length=1, max_length=2000)]
    authorization_header: Annotated[SecretStr | None, Field(min_length=1, max_length=2000)] = None


class PolledBody(_Body):
    """Tokens are polled, at a URL that the service defines."""

    method: Literal["urn:ietf:rfc:8936"]


class StreamBody(_Body):
    """The properties of a stream that a receiver sets."""

    events_requested: Annotated[list[_Uri] | None, Field(max_length=50)] = None
    delivery: Annotated[PushBody | PolledBody, Field(discriminator="method")] | None = None
    description: Annotated[str | None, Field(max_length=255)] = None


class StreamReplacementBody(StreamBody):
    """A complete stream; omitted properties are reset. Properties of the transmitter must be unchanged."""

    stream_id: StreamName
    iss: str | None = None
    aud: str | None = None
    events_supported: list[str] | None = None
    events_delivered: list[str] | None = None


class StreamChangeBody(StreamReplacementBody):
    """The properties to change; omitted ones and nulls are kept."""

    def over(self, terms: Terms, target: Target) -> StreamBody:
        """Return the complete stream after the change."""
        kept: PushBody | PolledBody = PolledBody(method=POLL)
        if terms.method is Method.SET_PUSH:
            authorization = SecretStr(target.authorization) if target.authorization else None
            kept = PushBody(
                method=PUSH, endpoint_url=SecretStr(target.url), authorization_header=authorization
            )
        requested = terms.events_requested
        return StreamBody(
            events_requested=self.events_requested or (None if requested is None else list(requested)),
            delivery=self.delivery or kept,
            description=terms.description if self.description is None else self.description,
        )


class StreamStatusBody(_Body):
    """The new status of a stream."""

    stream_id: StreamName
    status: Literal["enabled", "paused", "disabled"]
    reason: Comment | None = None


class StreamVerificationBody(_Body):
    """The stream to verify, and a state to return."""

    stream_id: StreamName
    state: Annotated[str | None, Field(max_length=1000)] = None


class TokenErrorBody(_Body):
    """The reason for which a receiver rejected a token."""

    err: Annotated[str, Field(max_length=100)]
    description: Annotated[str, Field(max_length=500)] = ""


class PollBody(_Body):
    """The tokens that a receiver acknowledges and requests."""

    ack: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=1000)] = []
    setErrs: Annotated[dict[str, TokenErrorBody], Field(max_length=100)] = {}
    maxEvents: Annotated[
        int,
        Field(ge=0, le=2**31 - 1, strict=True, description="A response contains at most 100."),
        BeforeValidator(integral),
    ] = 100
    returnImmediately: Annotated[bool, Field(strict=True)] = False


class DeliveryItem(TypedDict):
    """How the tokens of a stream are delivered."""

    method: str
    endpoint_url: str


class StreamConfiguration(TypedDict, total=False):
    """The configuration of a stream."""

    stream_id: str
    iss: str
    aud: str
    delivery: DeliveryItem
    events_supported: list[str]
    events_requested: list[str]
    events_delivered: list[str]
    description: str


OneOrAll: Any = StreamConfiguration | list[StreamConfiguration]


class StreamStatus(TypedDict, total=False):
    """The status of a stream."""

    stream_id: str
    status: str
    reason: str


class PolledTokens(TypedDict):
    """Security event tokens by their jti."""

    sets: dict[str, str]
    moreAvailable: bool
