"""An authenticated request: its caller, subject and preconditions, read in one place for every operation."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlencode
from uuid import UUID

import anyio.to_thread
from msgspec.structs import replace
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from application.record.access_log import READ, AccessRecorder, NoteAccess
from application.shared.errors import ShareUsed, Unavailable
from application.shared.ports import Clock
from application.transaction.command import Answer, Command
from application.transaction.records import Load, LoadedState
from application.transaction.store import Store
from domain.shared.errors import Refusal
from domain.shared.subject import Subject
from interface.http.core.authentication import Caller, TokenVerifier
from interface.http.core.headers import Headers, digest, idempotency_key, is_json, precondition
from interface.http.core.large_answers import LargeAnswers
from interface.http.core.path import BAD_PERCENT, path_id
from interface.http.core.permissions import DELIVERY_OVERRIDE
from interface.http.core.problems import (
    BodyTooLarge,
    HttpError,
    Malformed,
    UnsupportedMediaType,
    problem_response,
    status_of,
)
from interface.http.core.rate_limits import RateLimits
from interface.http.core.room import Part, Parts

# The errors that have a problem as their response.
REFUSALS = (HttpError, Refusal, ShareUsed, Unavailable)
# The statuses of refusals that are recorded in the client's access log.
_NOTED = {403, 409, 412, 422, 429}
Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")


class DigestKeys(Protocol):
    """Returns the keys of the request digests, the current one first."""

    def __call__(self, *, newest: bool) -> Sequence[bytes]:
        """Return them; newest: as of now, also after a rotation by another process a moment ago."""


@dataclass(frozen=True)
class Service:
    """The parts of the application that every call needs; interface/composition creates it.

    Dependencies of a single room belong to the part of that room (core/room.py).
    store: for searches; it may lag slightly.
    """

    execute: Callable[[Command], Awaitable[Answer]]
    load: Callable[[Sequence[Load]], Awaitable[LoadedState]]
    store: Store
    accesses: AccessRecorder
    clock: Clock
    verifier: TokenVerifier
    rate_limits: RateLimits
    large_answers: LargeAnswers
    new_uuid: Callable[[], UUID]
    digest_keys: DigestKeys


@dataclass(eq=False)  # frozen, its construction would cost thrice
class Call:
    """An authenticated and permitted call about one user, independent of the framework.

    path, path_params, query_string: as sent, still percent-encoded.
    state: values that the envelope shares with the call: `headers`, `traceparent`, `access`, `operation`, `filters`.
    """

    method: str
    path: str
    path_params: Mapping[str, str]
    query_string: bytes
    headers: Headers
    content: bytes
    state: MutableMapping[str, Any]
    caller: Caller
    subject: Subject
    service: Service
    parts: Parts

    @cached_property
    def query(self) -> Mapping[str, Sequence[str]]:
        """The values of each query parameter, decoded. Raises Malformed."""
        if not self.query_string:
            return {}
        try:
            text = self.query_string.decode("ascii")
            if BAD_PERCENT.search(text):
                raise Malformed("The query has an invalid percent-encoding.")
            return parse_qs(text, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise Malformed("The query is not UTF-8 in percent-encoding.") from None

    def path_id(self, name: str) -> str:
        """Return an id of the path, decoded. Raises Malformed."""
        return path_id(self.path_params, name)

    def part(self, kind: type[Part]) -> Part:
        """Return the part of a room. Raises KeyError if no room has registered it."""
        part: Part = self.parts[kind]
        return part

    def body(self, schema: type[Body]) -> Body:
        """Return the body, validated. Raises UnsupportedMediaType, Malformed with one message per fault."""
        if not is_json(self.headers):
            raise UnsupportedMediaType("Send the body as application/json, without a content encoding.")
        with contextlib.suppress(ValueError, RecursionError):  # the validation below has the better message
            json.loads(self.content, object_pairs_hook=_unique_names)
        try:
            return schema.model_validate_json(self.content)
        except ValidationError as error:
            raise Malformed(*[_fault(fault) for fault in error.errors(include_url=False)]) from None

    def optional_body(self, schema: type[Body]) -> Body:
        """Return the body; an absent one equals an empty object."""
        return self.body(schema) if self.content else schema()

    def command_context(self) -> dict[str, Any]:
        """Return the fields that every command takes from the call."""
        key = idempotency_key(self.headers)
        retryable = key is not None and self.method in ("POST", "PATCH")
        newest, *former = self.service.digest_keys(newest=retryable)
        return {
            "subject": self.subject,
            "actor": self.caller.actor,
            "correlation_id": self.state["traceparent"],
            "command_id": digest(self.subject.client_ext_id, self.caller.actor, key)
            if retryable
            else self.service.new_uuid().hex,
            "request_digest": self._request_digest(newest),
            "retryable": retryable,
            "former_digests": tuple(map(self._request_digest, former)) if retryable else (),
            "precondition": precondition(self.headers),
        }

    def sending_context(self) -> dict[str, Any]:
        """Return the fields that every command that sends a ticket takes from the call."""
        context = self.command_context()
        context["overrides_limit"] = DELIVERY_OVERRIDE in self.caller.permissions
        return context

    async def execute(self, command: Command) -> Answer:
        """Run the command. Raises its Refusal, or Unavailable."""
        answer = await self.service.execute(command)
        # A retry gets the complete first response, including its traceparent.
        self.state["traceparent"] = answer.correlation_id
        return answer.unwrap()

    async def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the current rows. Raises Unavailable."""
        return await self.service.load(loads)

    def still_permitted(self, *permissions: str) -> Callable[[], Awaitable[None]]:
        """Return the check that raises HttpError once the caller's token is no longer accepted."""
        authorization = self.headers.getlist("authorization")

        async def check() -> None:
            caller = await self.service.verifier.caller(authorization)
            caller.demand(self.subject.client_ext_id, permissions)

        return check

    async def note_read(self, user_ext_id: str | None = None) -> None:
        """Record the read in the client's access log, before the read. Raises Unavailable.

        user_ext_id: the user that a search names.
        """
        access = self._read()
        if user_ext_id:
            access = replace(access, subject=Subject(self.subject.client_ext_id, user_ext_id))
        await self.service.accesses.note(access)

    def count_read(self, users: Iterable[str] = ()) -> None:
        """Count a successful read; it is recorded later, so the response does not wait for a commit.

        users: the users in the response to a list.
        """
        accesses, (client_ext_id, user_ext_id) = self.service.accesses, self.subject
        kind = client_ext_id, self.caller.actor, self.state["operation"] or "", READ
        if users or self.query_string or not accesses.count_again(kind, user_ext_id):
            accesses.count(self._read(users))

    def _read(self, users: Iterable[str] = ()) -> NoteAccess:
        values = {name: self.query[name] for name in self.state["filters"] if name in self.query}
        access = access_of(self.service, self.state, READ)
        named = tuple(dict.fromkeys(users))
        if not values and not named:
            return access
        return replace(
            access, filters=tuple(values), reason=urlencode(values, doseq=True) or None, users=named
        )

    async def note(self, outcome: str) -> None:
        """Record the outcome of the call in the client's access log. Raises Unavailable."""
        await note(self.service, self.state, outcome)

    async def find(self, use_case: Callable[..., Result], of: object) -> Result:
        """Run a search with the query `of`, off the event loop."""
        return await anyio.to_thread.run_sync(partial(use_case, of, store=self.service.store))

    def _request_digest(self, key: bytes) -> str:
        headers, query = self.headers, self.query_string
        # Keyed: the body of a verification contains a ticket, and an unkeyed digest of a short one could be guessed.
        return digest(
            self.method,
            self.path + (f"?{query.decode('latin-1')}" if query else ""),
            headers.get("if-match"),
            headers.get("if-none-match"),
            self.content,
            key=key,
        )


async def note(service: Service, state: Mapping[str, Any], outcome: str) -> None:
    """Record the outcome of a request in the client's access log, if its caller is known. Raises Unavailable.

    state: of the request; see Call.
    """
    if "access" in state:
        await service.accesses.note(access_of(service, state, outcome))


async def refused(service: Service, state: Mapping[str, Any], error: Exception) -> Response:
    """Return the response to one of the REFUSALS, and record it in the client's access log. state: of the request; see Call.

    Raises BodyTooLarge: the envelope reads the rest of the body before it responds.
    """
    if isinstance(error, BodyTooLarge):
        raise error
    kind = status_of(error)
    if kind.status in _NOTED:
        try:
            await note(service, state, kind.code)
        except Unavailable as unavailable:
            return problem_response(unavailable)
    return problem_response(error, service.clock)


def access_of(service: Service, state: Mapping[str, Any], outcome: str) -> NoteAccess:
    """Return the access that records the outcome of a request. state: of the request; see Call."""
    actor, subject = state["access"]
    return NoteAccess(
        subject=subject,
        actor=actor,
        correlation_id=state["traceparent"],
        command_id=service.new_uuid().hex,
        request_digest="",
        operation=state.get("operation") or "",
        outcome=outcome,
    )


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("The body has a duplicate field.")
    return found


def _fault(fault: Any) -> str:
    where = ".".join(str(step) for step in fault["loc"])
    return f"{where}: {message_of(fault)}" if where else message_of(fault)


def message_of(fault: Any) -> str:
    """Return the message of a validation error, without pydantic's prefix of a ValueError."""
    return str(fault["msg"]).removeprefix("Value error, ")
