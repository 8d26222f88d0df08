"""The routes of operations: authenticate and authorise a request, make it a Call, and answer it."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

from domain.shared.subject import Subject
from interface.http.core.call import Call, Service
from interface.http.core.headers import Headers, Traceparent, preferred_type
from interface.http.core.path import ClientExtId, UserExtId, path_id
from interface.http.core.problems import NotAcceptable
from interface.http.core.room import Parts

JSON = "application/json"
_PAGING = ("limit", "continuationToken")


class Bound(Enum):
    """The limit of the calls of an operation at the same time. One with a `limit` has that of pages without naming it."""

    NONE = auto()
    PAGE = auto()
    FOLLOWER = auto()


class Permitted:
    """The dependency that requires all of these permissions for the path's client.

    The order is fixed: 401 before anything, then 400 for the path, 403, 406, and 429 for a write.
    """

    def __init__(
        self, permissions: tuple[str, ...], *, of_a_user: bool, media_types: Sequence[str], bound: Bound
    ) -> None:
        self.bound = bound
        self._permissions = permissions
        self._of_a_user = of_a_user
        self._media_types = media_types

    async def call(
        self, scope: Scope, receive: Receive, params: Mapping[str, str], service: Service, parts: Parts
    ) -> Call:
        """Return the call. params: of the path, still percent-encoded. Raises HttpError, Unavailable, ClientDisconnect."""
        state = scope["state"]
        headers: Headers = state["headers"]
        caller = await service.verifier.caller(headers.getlist("authorization"))
        user_ext_id = path_id(params, "userExtId") if self._of_a_user else ""
        subject = Subject(path_id(params, "clientExtId"), user_ext_id)
        state["access"] = (caller.actor, subject)
        caller.demand(subject.client_ext_id, self._permissions)
        if preferred_type(headers, self._media_types) is None:
            types = " or ".join(self._media_types)
            raise NotAcceptable(f"The response is {types}, which the Accept header excludes.")
        if scope["method"] != "GET":
            service.rate_limits.count(caller.actor, subject)
        return Call(
            method=scope["method"],
            path=scope["path"],
            path_params=params,
            query_string=scope["query_string"],
            headers=headers,
            content=await _content(receive),
            state=state,
            caller=caller,
            subject=subject,
            service=service,
            parts=parts,
        )


class PermittedForUser(Permitted):
    """The dependency of an operation about one user."""

    def __init__(self, *permissions: str, media_types: Sequence[str] = (JSON,)) -> None:
        super().__init__(permissions, of_a_user=True, media_types=media_types, bound=Bound.NONE)

    def __call__(
        self,
        clientExtId: ClientExtId,  # noqa: N803
        userExtId: UserExtId,  # noqa: N803
        traceparent: Traceparent = None,
    ) -> None:
        """Declare the parameters for the OpenAPI document; CallRoute uses `call`."""


class PermittedForClient(Permitted):
    """The dependency of an operation about the client."""

    def __init__(
        self, *permissions: str, media_types: Sequence[str] = (JSON,), bound: Bound = Bound.NONE
    ) -> None:
        super().__init__(permissions, of_a_user=False, media_types=media_types, bound=bound)

    def __call__(self, clientExtId: ClientExtId, traceparent: Traceparent = None) -> None:  # noqa: N803
        """Declare the parameters for the OpenAPI document; CallRoute uses `call`."""


class Operation:
    """The rules of an operation. Its route and the path table (core/path_table.py) both use it, so they cannot differ."""

    def __init__(self, route: APIRoute) -> None:
        dependant = route.dependant
        dependencies: list[Any] = [dependency.call for dependency in dependant.dependencies]
        self._permitted = next(found for found in dependencies if isinstance(found, Permitted))
        declared = dependant.path_params + dependant.query_params + dependant.header_params
        self._endpoint = partial(route.endpoint, **{parameter.name: None for parameter in declared})
        queried = [parameter.alias for parameter in dependant.query_params]
        bound = self._permitted.bound
        self._is_page = bound is Bound.PAGE or "limit" in queried
        self._follows, self._waits = bound is Bound.FOLLOWER, "wait" in queried
        self._filters = tuple(name for name in queried if name not in _PAGING)
        self._name = route.operation_id

    async def respond(
        self, scope: Scope, receive: Receive, params: Mapping[str, str], service: Service, parts: Parts
    ) -> Response:
        """Return the response to a request. params: of the path, still percent-encoded.

        Raises HttpError, Refusal, ShareUsed, Unavailable, ClientDisconnect.
        """
        state = scope["state"]
        state["operation"], state["filters"] = self._name, self._filters
        call = await self._permitted.call(scope, receive, params, service, parts)
        of = call.subject.client_ext_id, call.caller.actor
        if self._follows or (self._waits and "wait" in call.query):
            return await service.large_answers.follow(*of, partial(self._endpoint, call=call))
        if self._is_page:
            return await service.large_answers.page(*of, partial(self._endpoint, call=call))
        response: Response = await self._endpoint(call=call)
        return response


class CallRoute(APIRoute):
    """A route whose endpoint takes a `call` with the complete request.

    The other parameters of the endpoint are for the OpenAPI document. They are read from the call, in a fixed order
    and with the service's errors, so FastAPI need not validate them again (ADR 6: half of the cost of a request).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        operation = self.operation = Operation(self)

        async def handle(request: Request) -> Response:
            state = request.app.state
            params = request.path_params
            return await operation.respond(request.scope, request.receive, params, state.service, state.parts)

        return handle


async def _content(receive: Receive) -> bytes:
    """Return the body of a request, which nearly always came with its head. Raises ClientDisconnect, BodyTooLarge."""
    # Joined once: a large body has many messages.
    parts, more = list[bytes](), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def depends(*permissions: str, media_types: Sequence[str] = (JSON,)) -> Any:
    """Return the dependency of an operation about a user, for use in an Annotated."""
    return Depends(PermittedForUser(*permissions, media_types=media_types))


def depends_for_client(
    *permissions: str, media_types: Sequence[str] = (JSON,), bound: Bound = Bound.NONE
) -> Any:
    """Return the dependency of an operation about the client, for use in an Annotated."""
    return Depends(PermittedForClient(*permissions, media_types=media_types, bound=bound))
