"""The metadata and the keys of the transmitter, one for each client (OpenID Shared Signals 1.0)."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from application.subscriptions.security_stream import POLL, PUSH
from interface.http.core.openapi import public
from interface.http.core.path import BASE_PATH, ClientExtId, path_id
from interface.http.core.room import part_of
from interface.http.ssf.part import SsfPart, uncached_json

router = APIRouter(tags=["Security events"])
JWKS = "/.well-known/jwks.json"


@router.get(
    f"/.well-known/ssf-configuration{BASE_PATH}/{{clientExtId:segment}}",
    summary="Get the metadata of a client's transmitter",
    operation_id="getTransmitter",
    responses=public("The metadata"),
    openapi_extra={"security": []},
)
async def transmitter(request: Request, clientExtId: ClientExtId) -> Response:  # noqa: N803
    """Returns the endpoints that manage a client's streams of security events (SSF 1.0, section 7)."""
    part = part_of(request, SsfPart)
    issuer = part.streams.issuer(path_id(request.path_params, "clientExtId"))
    return uncached_json(
        {
            "spec_version": "1_0",
            "issuer": issuer,
            "jwks_uri": f"{part.public_url}{JWKS}",
            "delivery_methods_supported": [PUSH, POLL],
            "configuration_endpoint": f"{issuer}/ssf/streams",
            "status_endpoint": f"{issuer}/ssf/status",
            "verification_endpoint": f"{issuer}/ssf/verify",
            "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
            "default_subjects": "ALL",
        }
    )


@router.get(
    JWKS,
    summary="Get the keys that sign security events",
    operation_id="getKeys",
    responses=public("The key set"),
    openapi_extra={"security": []},
)
async def keys(request: Request) -> Response:
    """Returns the public keys that verify security event tokens (RFC 7517)."""
    return uncached_json(await run_in_threadpool(part_of(request, SsfPart).key_set))
