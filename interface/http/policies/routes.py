"""The ticket policies of a client."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BeforeValidator, Field, create_model
from starlette.responses import Response

from application.policies.define_policy import DefinePolicy, read_policies, read_policy
from application.policies.records import policies_of
from application.policies.response import PolicyList, PolicyResponse, to_response
from application.shared.fields import Comment, integral
from application.shared.wire import camel_case_fields, from_camel_case
from application.transaction.outcomes import Outcome
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyKey
from interface.http.core.call import Call
from interface.http.core.call_route import Bound, CallRoute, depends_for_client
from interface.http.core.headers import IfMatch, IfNoneMatch
from interface.http.core.openapi import body, links_to, lists, puts, reads
from interface.http.core.path import BASE_PATH, ID_SCHEMA
from interface.http.core.responses import found, json_response
from interface.http.core.schemas import StrictBody

router = APIRouter(prefix=BASE_PATH, tags=["Policy"], route_class=CallRoute)
POLICY_MODIFY = "AccessControl.PolicyModify"
POLICY_VIEW = "AccessControl.PolicyView"
LIST = "/{clientExtId:segment}/policies"
PATH = f"{LIST}/{{policyExtId:segment}}"
PolicyExtId = Annotated[
    str, Path(description="External ID of the policy.", examples=["letters"], json_schema_extra=ID_SCHEMA)
]
# A signed 64-bit number, as every store keeps it; the rules of the policy are narrower, and have separate messages.
_INTEGER = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True), BeforeValidator(integral)]
_TYPES: dict[Any, Any] = {
    int: _INTEGER,
    int | None: _INTEGER | None,
    bool: Annotated[bool, Field(strict=True)],
}


_Parameters: Any = create_model(
    "_Parameters", __base__=StrictBody, **camel_case_fields(TicketPolicy, types=_TYPES)
)


class ParametersBody(_Parameters):
    """The parameters of a policy; omitted ones default to the built-in policy."""


class PolicyBody(StrictBody):
    """A complete policy."""

    parameters: ParametersBody = ParametersBody()
    defaultPolicy: Annotated[bool, Field(strict=True)] = False
    modificationComment: Comment | None = None


@router.put(
    PATH,
    summary="Define or replace a policy",
    operation_id="definePolicy",
    responses=puts(PolicyResponse, "The policy", 422, links=links_to("getPolicy", of="policyExtId")),
    openapi_extra=body(PolicyBody, required=True),
)
async def define(
    call: Annotated[Call, depends_for_client(POLICY_MODIFY)],
    policyExtId: PolicyExtId,  # noqa: N803
    if_match: IfMatch = None,
) -> Response:
    """Replaces all parameters of the policy. They take effect the next time that the policy is applied.

    A policy whose tickets have less than 112 bits of entropy must hash by ARGON2ID; below 20 bits it is rejected.

    Required permission: AccessControl.PolicyModify
    """
    wanted = call.body(PolicyBody)
    command = DefinePolicy(
        **call.command_context(),
        reason=wanted.modificationComment,
        policy_ext_id=call.path_id("policyExtId"),
        policy=from_camel_case(TicketPolicy, wanted.parameters),
        is_default=wanted.defaultPolicy,
    )
    answer = await call.execute(command)
    return json_response(answer, 201 if answer.outcome == Outcome.CREATED else 200)


@router.get(
    PATH, summary="Get a policy", operation_id="getPolicy", responses=reads(PolicyResponse, "The policy")
)
async def get(
    call: Annotated[Call, depends_for_client(POLICY_VIEW)],
    policyExtId: PolicyExtId,  # noqa: N803
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns a policy that the client has defined.

    Required permission: AccessControl.PolicyView
    """
    key = PolicyKey(call.subject.client_ext_id, call.path_id("policyExtId"))
    row = read_policy(key, await call.load([policies_of(key.client_ext_id)]))
    return found(call, to_response(row), row.version)


@router.get(
    LIST,
    summary="List policies",
    operation_id="listPolicies",
    responses=lists(PolicyList, "The policies of the client"),
)
async def find(call: Annotated[Call, depends_for_client(POLICY_VIEW, bound=Bound.PAGE)]) -> Response:
    """Returns every policy that the client has defined. The built-in policy `default` is not listed.

    Required permission: AccessControl.PolicyView
    """
    client_ext_id = call.subject.client_ext_id
    rows = read_policies(client_ext_id, await call.load([policies_of(client_ext_id)]))
    found = PolicyList(items=[to_response(row) for row in rows])
    return Response(
        found.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"}
    )
