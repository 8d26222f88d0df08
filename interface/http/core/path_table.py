"""The operations by method and path, in one ASGI callable before the framework.

The framework tries its routes one after the other, within layers of middleware that no operation uses. That was most of
the cost of a request (ADR 22). This table finds an operation by its method and the literal segments of its path, and
calls the same function as its route: `Operation.respond`.
"""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from interface.http.core.call import REFUSALS, refused
from interface.http.core.call_route import CallRoute, Operation

_PARAMETER = ":segment}"


class PathTable:
    """Serves operations, and passes every other request on, also one with another method.

    routers: no two of their operations may have the same method and paths in common. state: of the application, with its
    `service` and `parts`. otherwise: the framework.
    """

    def __init__(self, routers: Iterable[APIRouter], state: State, otherwise: ASGIApp) -> None:
        self._state, self._otherwise = state, otherwise
        # By the number of segments and the places of the literal ones: the operations by method and literal segments,
        # each with the places of its parameters.
        shapes: dict[int, dict[tuple[int, ...], dict[Any, tuple[Operation, Mapping[str, int]]]]] = {}
        for route in (route for router in routers for route in router.routes if isinstance(route, CallRoute)):
            segments = route.path.split("/")
            params = {
                segment.removeprefix("{").removesuffix(_PARAMETER): place
                for place, segment in enumerate(segments)
                if segment.endswith(_PARAMETER)
            }
            literal = tuple(sorted({*range(len(segments))}.difference(params.values())))
            operations = shapes.setdefault(len(segments), {}).setdefault(literal, {})
            for method in route.methods or ():
                operations[method, *itemgetter(*literal)(segments)] = route.operation, params
        self._shapes = {
            count: [(itemgetter(*literal), operations) for literal, operations in found.items()]
            for count, found in shapes.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        operation, params = found
        service = self._state.service
        try:
            response = await operation.respond(scope, receive, params, service, self._state.parts)
        except REFUSALS as error:
            response = await refused(service, scope["state"], error)
        await response(scope, receive, send)

    def _find(self, method: str, path: str) -> tuple[Operation, Mapping[str, str]] | None:
        """Return the operation of a request and the parameters of its path, still percent-encoded."""
        segments = path.split("/")
        for literal, operations in self._shapes.get(len(segments), ()):
            if found := operations.get((method, *literal(segments))):
                operation, params = found
                return operation, {name: segments[place] for name, place in params.items()}
        return None
