"""The OpenAPI 3.1 document: the parts that FastAPI cannot derive."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from interface.http.core.problems import INTERNAL, MEDIA_TYPE, PROBLEMS, Problem

Responses = dict[int | str, dict[str, Any]]
_REF = "#/components/schemas/{model}"
_TRACEPARENT = {"description": "W3C trace context of the request.", "schema": {"type": "string"}}
_ETAG = {"description": "The version, as a strong entity tag.", "schema": {"type": "string"}}
_DESCRIPTION = """\
Ticket credentials: one secret per user and client, sent to the user by mail or letter, with which they
activate or recover an account. The clear ticket is in no response; it is sent to the user only.
"""


class SchemaRef(dict[str, Any]):
    """A reference to the schema of a type. The document contains the schema of every type that a route references."""

    def __init__(self, kind: type, mode: Literal["validation", "serialization"] = "validation") -> None:
        super().__init__({"$ref": _REF.format(model=kind.__name__)})
        self.adapter: TypeAdapter[Any] = TypeAdapter(kind)
        self.kind = kind
        self.mode = mode


def body(schema: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """Declare the request body of an operation, which reads it itself."""
    content = {"application/json": {"schema": SchemaRef(schema)}}
    return {"requestBody": {"required": required, "content": content}}


def reads(schema: type, description: str) -> Responses:
    """Declare the responses of a GET with an entity tag."""
    unchanged = {"description": "Not modified", "headers": {"ETag": _ETAG, "traceparent": _TRACEPARENT}}
    return {200: _success(schema, description), 304: unchanged} | _problems(
        400, 401, 403, 404, 406, 413, 500, 503
    )


def writes(schema: type, description: str, *more: int) -> Responses:
    """Declare the responses of a POST that changes an existing resource."""
    statuses = (400, 401, 403, 404, 406, 412, 413, 415, 422, *more, 429, 500, 503)
    return {200: _success(schema, description)} | _problems(*statuses)


def patches(schema: type, description: str) -> Responses:
    """Declare the responses of a PATCH, whose body may name a version."""
    return writes(schema, description) | _problems(409)


def plain_writes(schema: type, description: str) -> Responses:
    """Declare the responses of a POST without an entity tag."""
    responses = writes(schema, description)
    del responses[200]["headers"]["ETag"]
    return responses


def lists(schema: type, description: str, *more: int) -> Responses:
    """Declare the responses of a GET of a list, without an entity tag."""
    responses = reads(schema, description)
    del responses[304], responses[404], responses[200]["headers"]["ETag"]
    return responses | _problems(*more, 429)


def returns(schemas: Mapping[str, dict[str, Any]], description: str, *more: int) -> Responses:
    """Declare the responses of a GET with media types other than JSON. schemas: by media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    found = {"description": description, "content": content, "headers": {"traceparent": _TRACEPARENT}}
    return {200: found} | _problems(400, 401, 403, 404, 406, 413, *more, 429, 500, 503)


def deletes(description: str = "Deleted", *more: int) -> Responses:
    """Declare the responses of a DELETE, or of another operation without response content."""
    gone = {"description": description, "headers": {"traceparent": _TRACEPARENT}}
    return {204: gone} | _problems(400, 401, 403, 404, 406, 412, 413, *more, 429, 500, 503)


def queues(schema: type, description: str) -> Responses:
    """Declare the responses of a POST that queues work."""
    responses = writes(schema, description)
    accepted = responses.pop(200)
    del accepted["headers"]["ETag"], responses[412], responses[415]
    return {202: accepted} | responses


def public(description: str) -> Responses:
    """Declare the responses of a GET without authentication."""
    content = {"application/json": {"schema": {"type": "object"}}}
    found = {"description": description, "content": content, "headers": {"traceparent": _TRACEPARENT}}
    return {200: found} | _problems(400, 413, 500)


def creates(schema: type, description: str, *, links: dict[str, Any]) -> Responses:
    """Declare the responses of a POST that creates something, and the operations to continue with."""
    responses = writes(schema, description)
    created = responses.pop(200)
    created["headers"]["Location"] = {"description": "URL of the new resource.", "schema": {"type": "string"}}
    created["links"] = links
    return {201: created} | responses


def puts(schema: type, description: str, *more: int, links: dict[str, Any]) -> Responses:
    """Declare the responses of a PUT that creates or replaces, and the operations to continue with."""
    problems = _problems(400, 401, 403, 406, 412, 413, 415, *more, 429, 500, 503)
    replaced, new = _success(schema, f"{description}, replaced"), _success(schema, f"{description}, new")
    return {200: replaced | {"links": links}, 201: new | {"links": links}} | problems


def links_to(*operations: str, of: str = "userExtId") -> dict[str, Any]:
    """Return links to the operations to continue with."""
    parameters = {name: f"$request.path.{name}" for name in ("clientExtId", of)}
    return {operation: {"operationId": operation, "parameters": parameters} for operation in operations}


def _success(schema: type, description: str) -> dict[str, Any]:
    return {
        "description": description,
        "model": schema,
        "headers": {"ETag": _ETAG, "traceparent": _TRACEPARENT},
    }


def _problems(*statuses: int) -> Responses:
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    kinds = [kind for kind in (*PROBLEMS.values(), INTERNAL) if kind.status == status]
    codes = ", ".join(sorted({f"`{kind.code}`" for kind in kinds}))
    headers: dict[str, Any] = {"traceparent": _TRACEPARENT}
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "string"}}
    if status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = {"description": "Bearer", "schema": {"type": "string"}}
    content = {MEDIA_TYPE: {"schema": SchemaRef(Problem)}}
    return {"description": f"{kinds[0].title}: {codes}", "headers": headers, "content": content}


def document(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    """Return the OpenAPI document of the app, created once. routers: their routes reference schemas."""
    if app.openapi_schema is None:
        openapi = get_openapi(
            title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
        )
        found = {
            ref.kind: ref
            for router in routers
            for route in router.routes
            for declared in (getattr(route, "openapi_extra", None), getattr(route, "responses", None))
            for ref in _schema_refs(declared)
        }
        components = openapi.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for mode in ("validation", "serialization"):
            referenced = [(ref.kind, ref.mode, ref.adapter) for ref in found.values() if ref.mode == mode]
            _, definitions = TypeAdapter.json_schemas(referenced, ref_template=_REF)
            schemas.update(definitions.get("$defs", {}))
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        openapi["security"] = [{"token": []}]
        _remove_validation_errors(openapi)
        app.openapi_schema = openapi
    return app.openapi_schema


def _schema_refs(declared: object) -> Iterator[SchemaRef]:
    match declared:
        case SchemaRef():
            yield declared
        case dict():
            for value in declared.values():
                yield from _schema_refs(value)


def _remove_validation_errors(openapi: dict[str, Any]) -> None:
    """Remove FastAPI's own validation error: the service sends problem details instead."""
    for operations in openapi["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for schema in ("HTTPValidationError", "ValidationError"):
        openapi["components"]["schemas"].pop(schema, None)
