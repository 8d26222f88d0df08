"""The routes of operations: authenticate and authorise a request, and make it a Call."""

from collections.abc import Callable, Coroutine, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from domain.shared.subject import Subject
from interface.http.core.call import Call, Service
from interface.http.core.headers import Headers, Traceparent, preferred_type
from interface.http.core.path import ClientExtId, UserExtId, path_id
from interface.http.core.problems import NotAcceptable

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
            content=await request.body(),
            state=state,
            caller=caller,
            subject=subject,
            service=service,
            parts=app.parts,
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


class CallRoute(APIRoute):
    """A route whose endpoint takes a `call` with the complete request.

    The other parameters of the endpoint are for the OpenAPI document. They are read from the call, in a fixed order
    and with the service's errors, so FastAPI need not validate them again (ADR 6: half of the cost of a request).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        dependencies: list[Any] = [dependant.call for dependant in self.dependant.dependencies]
        permitted = next(dependency for dependency in dependencies if isinstance(dependency, Permitted))
        declared = {
            parameter.name: None for parameter in self.dependant.path_params + self.dependant.query_params
        }
        declared |= {parameter.name: None for parameter in self.dependant.header_params}
        endpoint = partial(self.endpoint, **declared)
        queried = {parameter.alias for parameter in self.dependant.query_params}
        is_page = permitted.bound is Bound.PAGE or "limit" in queried
        follows, waits = permitted.bound is Bound.FOLLOWER, "wait" in queried
        filters = tuple(
            parameter.alias for parameter in self.dependant.query_params if parameter.alias not in _PAGING
        )

        async def handle(request: Request) -> Response:
            state = request.scope["state"]
            state["operation"], state["filters"] = self.operation_id, filters
            call = await permitted.call(request)
            answers, of = call.service.large_answers, (call.subject.client_ext_id, call.caller.actor)
            if follows or (waits and "wait" in call.query):
                return await answers.follow(*of, partial(endpoint, call=call))
            if is_page:
                return await answers.page(*of, partial(endpoint, call=call))
            response: Response = await endpoint(call=call)
            return response

        return handle


def depends(*permissions: str, media_types: Sequence[str] = (JSON,)) -> Any:
    """Return the dependency of an operation about a user, for use in an Annotated."""
    return Depends(PermittedForUser(*permissions, media_types=media_types))


def depends_for_client(
    *permissions: str, media_types: Sequence[str] = (JSON,), bound: Bound = Bound.NONE
) -> Any:
    """Return the dependency of an operation about the client, for use in an Annotated."""
    return Depends(PermittedForClient(*permissions, media_types=media_types, bound=bound))
