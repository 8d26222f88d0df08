"""One call: who calls, about whom, under which conditions. What every operation needs, read in one place."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.record.access_log import READ, NoteAccess
from application.shared.ports import Clock
from application.shared.wire import to_json
from application.transaction.command import Answer, Command
from application.transaction.records import Load, LoadedState
from application.transaction.store import Store
from domain.shared.subject import Subject
from interface.http.core.authentication import Caller, TokenVerifier
from interface.http.core.headers import (
    Headers,
    Traceparent,
    accepts,
    digest,
    idempotency_key,
    is_json,
    names_tag,
    precondition,
)
from interface.http.core.path import ClientExtId, UserExtId, path_id
from interface.http.core.problems import Malformed, NotAcceptable, UnsupportedMediaType
from interface.http.core.rate_limits import RateLimits
from interface.http.core.room import Part, Parts

JSON = "application/json"
Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Service:
    """What every call needs of the application; interface/composition wires it.

    What only one room needs belongs to the part of that room (core/room.py).
    store: for searches; it may be a little behind.
    """

    execute: Callable[[Command], Awaitable[Answer]]
    load: Callable[[Sequence[Load]], Awaitable[LoadedState]]
    store: Store
    note_access: Callable[[NoteAccess], Awaitable[None]]
    clock: Clock
    verifier: TokenVerifier
    rate_limits: RateLimits
    new_uuid: Callable[[], UUID]
    digest_keys: Callable[[], Sequence[bytes]]


@dataclass(frozen=True)
class Call:
    """An authenticated and permitted call about one user, as a value that knows no framework.

    path, path_params, query_string: as sent, still percent-encoded.
    state: what the envelope shares with the call: `traceparent`, `access`, `operation`.
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
        """The values of each query parameter, decoded."""
        return parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)

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
            raise UnsupportedMediaType("Send the body as application/json, not encoded.")
        with contextlib.suppress(ValueError, RecursionError):  # the validation below says it better
            json.loads(self.content, object_pairs_hook=_unique_names)
        try:
            return schema.model_validate_json(self.content)
        except ValidationError as error:
            raise Malformed(*[_fault(fault) for fault in error.errors(include_url=False)]) from None

    def optional_body(self, schema: type[Body]) -> Body:
        """Return the body, or what an empty object would have been where there is none."""
        return self.body(schema) if self.content else schema()

    def terms(self) -> dict[str, Any]:
        """Return what a command takes over from the call, but for its own fields."""
        key = idempotency_key(self.headers)
        retryable = key is not None and self.method in ("POST", "PATCH")
        newest, *former = self.service.digest_keys()
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

    def count(self) -> None:
        """Count the request against its caller and its credential. Raises TooManyRequests."""
        self.service.rate_limits.count(self.caller.actor, self.subject)

    async def execute(self, command: Command) -> Answer:
        """Run the command. Raises its Refusal, or Unavailable."""
        answer = await self.service.execute(command)
        # A retry gets the first answer whole, its traceparent too.
        self.state["traceparent"] = answer.correlation_id
        return answer.unwrap()

    async def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the rows, as they are now. Raises Unavailable."""
        return await self.service.load(loads)

    def still_permitted(self, *permissions: str) -> Callable[[], Awaitable[None]]:
        """Return what raises HttpError once the caller's token is no longer accepted."""
        authorization = self.headers.getlist("authorization")

        async def check() -> None:
            caller = await self.service.verifier.caller(authorization)
            caller.demand(self.subject.client_ext_id, permissions)

        return check

    async def note_read(self) -> None:
        """Keep that the caller reads what is watched, before it is read. Raises Unavailable."""
        await self.note(READ)

    async def note(self, outcome: str) -> None:
        """Record the outcome of the call in the client's access log. Raises Unavailable."""
        await note(self.service, self.state, outcome)

    async def find(self, use_case: Callable[..., Result], of: object) -> Result:
        """Run a use case that searches for what `of` names, off the event loop."""
        return await run_in_threadpool(use_case, of, store=self.service.store)

    def found(
        self, response: BaseModel | Mapping[str, Any], version: int, *, changed_by_time: bool = False
    ) -> Response:
        """Return the response to a GET: 304 without a body where the caller has this state already."""
        tag = etag(version, changed_by_time=changed_by_time)
        headers = {"ETag": tag, "Cache-Control": "no-store"}
        if names_tag(self.headers, tag):
            return Response(status_code=304, headers=headers)
        return Response(to_json(response), 200, headers, "application/json")

    def _request_digest(self, key: bytes) -> str:
        headers, query = self.headers, self.query_string
        # Keyed: the body of a verification holds a ticket, and a plain digest of a short one could be searched for.
        return digest(
            self.method,
            self.path + (f"?{query.decode('latin-1')}" if query else ""),
            headers.get("if-match"),
            headers.get("if-none-match"),
            self.content,
            key=key,
        )


class Permitted:
    """The dependency that lets in callers with all of these permissions for the path's client.

    The order is fixed: 401 before anything, then 400 for the path, 403, 406.
    """

    def __init__(self, permissions: tuple[str, ...], *, of_a_user: bool, media_type: str) -> None:
        self._permissions = permissions
        self._of_a_user = of_a_user
        self._media_type = media_type

    async def call(self, request: Request) -> Call:
        """Return the call. Raises HttpError, Unavailable."""
        scope, app = request.scope, request.app.state
        service: Service = app.service
        headers, params, state = Headers(scope["headers"]), request.path_params, scope["state"]
        caller = await service.verifier.caller(headers.getlist("authorization"))
        user_ext_id = path_id(params, "userExtId") if self._of_a_user else ""
        subject = Subject(path_id(params, "clientExtId"), user_ext_id)
        state["access"] = (caller.actor, subject)
        caller.demand(subject.client_ext_id, self._permissions)
        if not accepts(headers, self._media_type):
            raise NotAcceptable(f"The answer is {self._media_type}; your Accept header rules that out.")
        return Call(
            method=scope["method"],
            path=scope["path"],
            path_params=params,
            query_string=scope["query_string"],
            headers=headers,
            content=await request.body(),
            state=state,
            caller=caller,
            subject=subject,
            service=service,
            parts=app.parts,
        )


class PermittedForUser(Permitted):
    """Of an operation that is about one user."""

    def __init__(self, *permissions: str, media_type: str = JSON) -> None:
        super().__init__(permissions, of_a_user=True, media_type=media_type)

    def __call__(
        self,
        clientExtId: ClientExtId,  # noqa: N803
        userExtId: UserExtId,  # noqa: N803
        traceparent: Traceparent = None,
    ) -> None:
        """Declare the parameters for the OpenAPI document; CallRoute asks `call`."""


class PermittedForClient(Permitted):
    """Of an operation that is about the client and no one user."""

    def __init__(self, *permissions: str, media_type: str = JSON) -> None:
        super().__init__(permissions, of_a_user=False, media_type=media_type)

    def __call__(self, clientExtId: ClientExtId, traceparent: Traceparent = None) -> None:  # noqa: N803
        """Declare the parameters for the OpenAPI document; CallRoute asks `call`."""


class CallRoute(APIRoute):
    """A route whose endpoint takes a `call`, which has all it needs.

    What else the endpoint declares is for the OpenAPI document: it is read off the call, in a fixed order and
    with our own errors, so FastAPI need not read and validate it a second time (ADR 6: that was half of what a
    request cost).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        dependencies: list[Any] = [dependant.call for dependant in self.dependant.dependencies]
        permitted = next(dependency for dependency in dependencies if isinstance(dependency, Permitted))
        declared = {
            parameter.name: None for parameter in self.dependant.path_params + self.dependant.query_params
        }
        declared |= {parameter.name: None for parameter in self.dependant.header_params}
        endpoint = partial(self.endpoint, **declared)

        async def answer(request: Request) -> Response:
            request.scope["state"]["operation"] = self.operation_id
            response: Response = await endpoint(call=await permitted.call(request))
            return response

        return answer


async def note(service: Service, state: Mapping[str, Any], outcome: str) -> None:
    """Record the outcome of a request in the client's access log, if its caller is known. Raises Unavailable.

    state: of the request; see Call.
    """
    if "access" not in state:
        return
    actor, subject = state["access"]
    await service.note_access(
        NoteAccess(
            subject=subject,
            actor=actor,
            correlation_id=state["traceparent"],
            command_id=service.new_uuid().hex,
            request_digest="",
            operation=state.get("operation") or "",
            outcome=outcome,
        )
    )


def depends(*permissions: str, media_type: str = JSON) -> Any:
    """Return the dependency of an operation about a user, for use in an Annotated."""
    return Depends(PermittedForUser(*permissions, media_type=media_type))


def depends_for_client(*permissions: str, media_type: str = JSON) -> Any:
    """Return the dependency of an operation about the client, for use in an Annotated."""
    return Depends(PermittedForClient(*permissions, media_type=media_type))


def etag(version: int, *, changed_by_time: bool = False) -> str:
    """Return the strong entity tag of a version, another one where time alone has changed the response."""
    return f'"{version}u"' if changed_by_time else f'"{version}"'


def json_response(answer: Answer, status: int = 200, **headers: str) -> Response:
    """Return the answer of a command that happened."""
    if answer.version is not None:
        headers["ETag"] = etag(answer.version)
    return Response(answer.body, status, {"Cache-Control": "no-store", **headers}, "application/json")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("The body names a field twice.")
    return found


def _fault(fault: Any) -> str:
    where = ".".join(str(step) for step in fault["loc"])
    return f"{where}: {fault['msg']}" if where else fault["msg"]
