"""Users: the recipients of tickets."""

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.read_ticket import read_user
from application.recipient import UserResponse, to_response
from application.register_user import RegisterUser
from interface.http.call import Call, depends, json_response
from interface.http.headers import IfMatch, IfNoneMatch
from interface.http.openapi import body, puts, reads
from interface.http.path import BASE_PATH
from interface.http.permissions import USER_MODIFY, USER_VIEW
from interface.http.schemas import UserBody

router = APIRouter(prefix=BASE_PATH, tags=["User"])
PATH = "/{clientExtId:segment}/users/{userExtId:segment}"


@router.put(
    PATH,
    summary="Register or replace a user",
    responses=puts(UserResponse, "The user"),
    openapi_extra=body(UserBody, required=True),
)
async def register(call: Annotated[Call, depends(USER_MODIFY)], if_match: IfMatch = None) -> Response:
    """Makes this all that is known of the user: where tickets are sent, and in which language.

    Required permission: AccessControl.UserModify
    """
    user = call.body(UserBody)
    answer = await call.execute(
        RegisterUser(**call.terms(), email=user.email, name=user.name, language=user.language)
    )
    return json_response(answer, 201 if answer.outcome == "created" else 200)


@router.get(PATH, summary="Get a user", responses=reads(UserResponse, "The user"))
async def get(call: Annotated[Call, depends(USER_VIEW)], if_none_match: IfNoneMatch = None) -> Response:
    """Returns what is known of a user.

    Required permission: AccessControl.UserView
    """
    recipient = await call.read(read_user)
    return call.found(to_response(recipient), recipient.version)
