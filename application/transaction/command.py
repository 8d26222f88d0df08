"""The base class of commands, and their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel

from application.shared.wire import to_json
from application.transaction.outcomes import Outcome
from application.transaction.records import Load, RecordSet
from domain.shared.attribution import Attribution
from domain.shared.errors import REFUSALS, Kind, Refusal
from domain.shared.subject import Subject


class PreconditionFailed(Refusal):
    """If-Match or If-None-Match is not satisfied (RFC 9110, section 13)."""

    CODE = "PreconditionFailed"
    KIND = Kind.PRECONDITION


class IdempotencyKeyReused(Refusal):
    """The caller has already used the key with another request."""

    CODE = "IdempotencyKeyReused"
    KIND = Kind.KEY_REUSED


class CommandKey(NamedTuple):
    """The key under which the answer to a retryable command is stored."""

    client_ext_id: str
    command_id: str


@dataclass(frozen=True)
class Precondition:
    """A precondition on the current version (RFC 9110, If-Match and If-None-Match).

    if_match: the accepted versions; None: the header is absent; "*": any version.
    if_none_match: the versions that are not accepted, likewise.
    """

    if_match: frozenset[int] | str | None = None
    if_none_match: frozenset[int] | str | None = None

    def check(self, version: int | None) -> None:
        """Raise PreconditionFailed unless the current version (None: the resource does not exist) is accepted."""
        if self.if_match is not None and not matches(self.if_match, version):
            raise PreconditionFailed(
                "The version in If-Match is not the current one. Reload the resource and retry."
            )
        if matches(self.if_none_match, version):
            raise PreconditionFailed("If-None-Match matches the current version. Reload the resource.")


def matches(condition: frozenset[int] | str | None, version: int | None) -> bool:
    """Return whether a condition matches the current version (None: the resource does not exist)."""
    if condition is None or version is None:
        return False
    return condition == "*" or version in condition


class Command(Struct, frozen=True, kw_only=True):
    """A change requested by a caller; see Attribution for the fields they share.

    retryable: the request has an Idempotency-Key, so the answer is stored for retries. former_digests: the digests of
    the request under previous keys.
    """

    subject: Subject
    actor: str
    correlation_id: str
    command_id: str
    request_digest: str
    retryable: bool = False
    former_digests: tuple[str, ...] = ()
    precondition: Precondition = Precondition()
    reason: str | None = None

    @property
    def key(self) -> CommandKey:
        """The key of the stored answer."""
        return CommandKey(self.subject.client_ext_id, self.command_id)

    def loads(self) -> Sequence[Load]:
        """Return the rows to load for the handler."""
        return ()

    def done(
        self, outcome: Outcome, version: int | None, response: BaseModel | Mapping[str, Any] | None
    ) -> "Answer":
        """Return the answer of a successful command."""
        return Answer(
            outcome=outcome,
            body="" if response is None else to_json(response),
            correlation_id=self.correlation_id,
            request_digest=self.request_digest,
            version=version,
            user_ext_id=self.subject.user_ext_id,
        )

    def refused(self, refusal: Refusal) -> "Answer":
        """Return the answer of a refused command."""
        return Answer(
            outcome=refusal.CODE,
            body=str(refusal),
            correlation_id=self.correlation_id,
            request_digest=self.request_digest,
            user_ext_id=self.subject.user_ext_id,
        )

    def attribution(self, timestamp: datetime) -> Attribution:
        """Return the attribution of the events of this command."""
        return Attribution(
            timestamp=timestamp,
            actor=self.actor,
            reason=self.reason,
            correlation_id=self.correlation_id,
            command_id=self.command_id,
            request_digest=self.request_digest,
        )


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """The answer to a command; a retry returns it again byte for byte.

    outcome: an Outcome, or the code of a Refusal, whose message is then the body. version: the resulting version, None if
    the response has no version. body: the response as JSON text. user_ext_id: of the command; empty also in rows of release
    1.0. Raises ValueError for an unknown outcome, since it is
    unknown whether the command was executed.
    """

    outcome: str
    body: str
    correlation_id: str
    request_digest: str
    version: int | None = None
    user_ext_id: str = ""

    def __post_init__(self) -> None:
        if self.outcome not in REFUSALS and self.outcome not in _OUTCOMES:
            raise ValueError(f"unknown outcome of a command: {self.outcome!r}")

    @property
    def refusal(self) -> str | None:
        """The code of the Refusal; None: the command succeeded."""
        return self.outcome if self.outcome in REFUSALS else None

    def replaced(self, refusal: Refusal) -> "Answer":
        """Return this refusal as the answer to the same command."""
        return replace(self, outcome=refusal.CODE, body=str(refusal), version=None)

    def unwrap(self) -> "Answer":
        """Return the answer, or raise its Refusal."""
        refusal = REFUSALS.get(self.outcome)
        if refusal is not None:
            raise refusal(self.body)
        return self


_OUTCOMES = frozenset(Outcome)


ANSWERS = RecordSet[CommandKey, Answer]("answers")
