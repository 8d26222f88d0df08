"""What every command brings along, and what every command comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct
from pydantic import BaseModel

from application.shared.errors import PreconditionFailed
from application.shared.wire import to_json
from application.transaction.outcomes import Outcome
from application.transaction.records import Load, RecordSet
from domain.shared.attribution import Attribution
from domain.shared.errors import REFUSALS, Refusal
from domain.shared.subject import Subject


class CommandKey(NamedTuple):
    """Where the answer to a command that may be retried is kept."""

    client_ext_id: str
    command_id: str


@dataclass(frozen=True)
class Precondition:
    """What the caller demands of the current version (RFC 9110, If-Match and If-None-Match).

    if_match: the versions that will do; None where the header is absent; "*" for any.
    if_none_match: the versions that will not do, likewise.
    """

    if_match: frozenset[int] | str | None = None
    if_none_match: frozenset[int] | str | None = None

    def check(self, version: int | None) -> None:
        """Raise PreconditionFailed unless the current version (None: there is none) will do."""
        if self.if_match is not None and not matches(self.if_match, version):
            raise PreconditionFailed(
                "The version named in If-Match is not the current one. Read again, then decide."
            )
        if matches(self.if_none_match, version):
            raise PreconditionFailed("If-None-Match names what exists.")


def matches(condition: frozenset[int] | str | None, version: int | None) -> bool:
    """Tell whether a condition of the request names the current version (None: there is none)."""
    if condition is None or version is None:
        return False
    return condition == "*" or version in condition


@dataclass(frozen=True, kw_only=True)
class Command:
    """A change that a caller asks for; see Attribution for the fields they share.

    retryable: the caller gave an Idempotency-Key, so the answer is kept for a retry. former_digests: of the same request,
    by the keys that were in force before.
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
        """Where the answer to this command is kept."""
        return CommandKey(self.subject.client_ext_id, self.command_id)

    def loads(self) -> Sequence[Load]:
        """Return the rows that the handler needs."""
        return ()

    def done(
        self, outcome: Outcome, version: int | None, response: BaseModel | Mapping[str, Any] | None
    ) -> "Answer":
        """Return the answer to this command now that it happened."""
        return Answer(
            outcome=outcome,
            body="" if response is None else to_json(response),
            correlation_id=self.correlation_id,
            request_digest=self.request_digest,
            version=version,
        )

    def refused(self, refusal: Refusal) -> "Answer":
        """Return the answer to this command when it must not happen."""
        return Answer(
            outcome=refusal.CODE,
            body=str(refusal),
            correlation_id=self.correlation_id,
            request_digest=self.request_digest,
        )

    def attribution(self, timestamp: datetime) -> Attribution:
        """Return the who and why for an event that happens now."""
        return Attribution(
            timestamp=timestamp,
            actor=self.actor,
            reason=self.reason,
            correlation_id=self.correlation_id,
            command_id=self.command_id,
            request_digest=self.request_digest,
        )


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """What a command came to: all that a retry needs to get the first answer again, byte for byte.

    outcome: an Outcome, or the code of a Refusal, whose message is then the body. version: the version that the command led
    to; None where the answer shows none. body: the response as JSON text. Raises ValueError for an unknown outcome, since
    nobody can tell whether the command happened.
    """

    outcome: str
    body: str
    correlation_id: str
    request_digest: str
    version: int | None = None

    def __post_init__(self) -> None:
        if self.outcome not in REFUSALS and self.outcome not in _OUTCOMES:
            raise ValueError(f"unknown outcome of a command: {self.outcome!r}")

    @property
    def refusal(self) -> str | None:
        """The code of the Refusal; None where the command happened."""
        return self.outcome if self.outcome in REFUSALS else None

    def unwrap(self) -> "Answer":
        """Return the answer of a command that happened, or raise the Refusal of one that did not."""
        refusal = REFUSALS.get(self.outcome)
        if refusal is not None:
            raise refusal(self.body)
        return self


_OUTCOMES = frozenset(Outcome)


ANSWERS = RecordSet[CommandKey, Answer]("answers")
