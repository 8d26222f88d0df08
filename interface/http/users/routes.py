"""Users: the recipients of tickets."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from application.shared.paging import Page
from application.tickets.erase_user import EraseUser
from application.tickets.find_tickets import PageKey
from application.transaction.outcomes import Outcome
from application.users.fields import UserFields
from application.users.find_users import find_users
from application.users.records import user, user_of
from application.users.register_user import RegisterUser
from application.users.response import UserResponse, to_response
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends, depends_for_client
from interface.http.core.headers import IfMatch, IfNoneMatch
from interface.http.core.openapi import body, deletes, links_to, lists, puts, reads
from interface.http.core.paging import ContinuationToken, Limit, fitting, page, page_response
from interface.http.core.path import BASE_PATH
from interface.http.core.responses import found, json_response, no_content

router = APIRouter(prefix=BASE_PATH, tags=["User"], route_class=CallRoute)
USER_MODIFY = "AccessControl.UserModify"
USER_VIEW = "AccessControl.UserView"
LIST = "/{clientExtId:segment}/users"
PATH = f"{LIST}/{{userExtId:segment}}"
UserPage = Page[UserResponse]


class UserBody(UserFields):
    """All data of a user."""


@router.put(
    PATH,
    summary="Register or replace a user",
    operation_id="registerUser",
    responses=puts(UserResponse, "The user", links=links_to("getUser", "createTicket", "eraseUser")),
    openapi_extra=body(UserBody, required=True),
)
async def register(call: Annotated[Call, depends(USER_MODIFY)], if_match: IfMatch = None) -> Response:
    """Registers a user, or replaces all data of the user. Without an `email`, tickets are sent by letter.

    Required permission: AccessControl.UserModify
    """
    wanted = call.body(UserBody)
    answer = await call.execute(RegisterUser(**call.command_context(), contact=wanted.contact))
    return json_response(answer, 201 if answer.outcome == Outcome.CREATED else 200)


@router.get(PATH, summary="Get a user", operation_id="getUser", responses=reads(UserResponse, "The user"))
async def get(call: Annotated[Call, depends(USER_VIEW)], if_none_match: IfNoneMatch = None) -> Response:
    """Returns the data of a user. The read is recorded in the client's access log.

    Required permission: AccessControl.UserView
    """
    recipient = user(await call.load([user_of(call.subject)]), call.subject)
    call.count_read()
    return found(call, to_response(recipient), recipient.version)


@router.delete(PATH, summary="Erase a user", operation_id="eraseUser", status_code=204, responses=deletes())
async def erase(call: Annotated[Call, depends(USER_MODIFY)], if_match: IfMatch = None) -> Response:
    """Erases all data of the user, and deletes the ticket; its history is kept, with ids only.

    Required permission: AccessControl.UserModify
    """
    await call.execute(EraseUser(**call.command_context()))
    return no_content()


@router.get(
    LIST, summary="List users", operation_id="listUsers", responses=lists(UserPage, "A page of users")
)
async def find(
    call: Annotated[Call, depends_for_client(USER_VIEW)],
    limit: Limit = None,
    continuationToken: ContinuationToken = None,  # noqa: N803
) -> Response:
    """Returns the users of a client, ordered by id, page by page. The read is recorded in the client's access log.

    Required permission: AccessControl.UserView
    """
    wanted = page(call)
    after = wanted.place.user_ext_id if wanted.place else ""
    found = await call.find(partial(find_users, after=after, limit=wanted.limit), call.subject.client_ext_id)
    items = fitting([to_response(recipient) for recipient in found.items])
    shown = found.items[: len(items)]
    call.count_read(recipient.user_ext_id for recipient in shown)
    more = found.more or len(shown) < len(found.items)
    place = PageKey("", shown[-1].user_ext_id) if more else None
    return page_response(UserPage(items=items, pagination=wanted.next(place)))
