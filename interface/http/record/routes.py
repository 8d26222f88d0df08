"""The record of a client: history, ledger, checkpoints and evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from typing_extensions import TypedDict

from application.record.checkpoint import PublishedKey, Signer
from application.record.history import HistoryItem, LogItem, read_history, search_log
from application.record.ledger import Checkpoint, HistoryQuery, Ledger
from application.record.past_states import PastStates
from application.record.proof_nodes import ProofNodes
from application.record.stream_heads import StreamHeads
from application.shared.fields import Date
from application.shared.paging import Page
from application.shared.wire import UtcDate, utc_date
from interface.http.core.call import Call
from interface.http.core.call_route import CallRoute, depends, depends_for_client
from interface.http.core.concurrency_limit import ConcurrencyLimit
from interface.http.core.openapi import lists
from interface.http.core.paging import (
    ContinuationToken,
    Limit,
    fitting,
    numbered_page,
    numbered_page_response,
    query_value,
)
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import HISTORY_VIEW
from interface.http.core.problems import Malformed
from interface.http.record.schemas import (
    ActorFilter,
    CorrelationFilter,
    FromFilter,
    ToFilter,
    TypeFilter,
    UserFilter,
    event_type,
    text_of,
    trace_id,
)

router = APIRouter(prefix=BASE_PATH, tags=["Audit"], route_class=CallRoute)
TICKET = "/{clientExtId:segment}/users/{userExtId:segment}/ticket"
HISTORY = "/{clientExtId:segment}/history"
CHECKPOINTS = "/{clientExtId:segment}/checkpoints"
HistoryPage = Page[HistoryItem]
LogPage = Page[LogItem]


@dataclass(frozen=True)
class RecordPart:
    """The dependencies of the record routes. history: for searches; may lag slightly."""

    ledger: Ledger
    history: Ledger
    signer: Signer
    past_states: PastStates
    heads: StreamHeads
    kept_nodes: ProofNodes
    exports: ConcurrencyLimit
    published_keys: Callable[[], Sequence[PublishedKey]]


class CheckpointItem(TypedDict):
    """A signed statement of the root of the client's ledger at a size."""

    size: Annotated[int, Field(description="The number of entries of the ledger.")]
    root: Annotated[str, Field(description="The root of the Merkle tree over them, hexadecimal.")]
    note: Annotated[str, Field(description="The signed note, with its signatures (C2SP tlog-checkpoint).")]
    made: UtcDate | None


CheckpointPage = Page[CheckpointItem]


@router.get(
    f"{TICKET}/history",
    summary="Get the history of a ticket",
    operation_id="getHistory",
    responses=lists(HistoryPage, "The history of the ticket", 404),
)
async def history(
    call: Annotated[Call, depends(HISTORY_VIEW)],
    limit: Limit = None,
    continuationToken: ContinuationToken = None,  # noqa: N803
) -> Response:
    """Returns the history of a user's ticket, oldest first, including deleted tickets.

    Each item has the actor, type, time and reason of an event, and the changed fields of the ticket. The request is
    recorded in the client's access log.

    Required permission: AccessControl.HistoryView
    """
    wanted, after = numbered_page(call)
    await call.note_read()
    part = call.part(RecordPart)
    read = partial(read_history, ledger=part.history, kept=part.past_states)
    items, more = await run_in_threadpool(read, call.subject, after, wanted.limit)
    shown = fitting(items)
    more = more or len(shown) < len(items)
    return numbered_page_response(wanted, shown, shown[-1]["version"] if more else None)


@router.get(
    HISTORY,
    summary="Search the ledger of a client",
    operation_id="searchHistory",
    responses=lists(LogPage, "The matching entries"),
)
async def search(
    call: Annotated[Call, depends_for_client(HISTORY_VIEW)],
    actor: ActorFilter = None,
    userExtId: UserFilter = None,  # noqa: N803
    type: TypeFilter = None,  # noqa: A002
    from_: FromFilter = None,
    to: ToFilter = None,
    correlationId: CorrelationFilter = None,  # noqa: N803
    limit: Limit = None,
    continuationToken: ContinuationToken = None,  # noqa: N803
) -> Response:
    """Returns the entries of the client's ledger that match every filter, by position: events and recorded accesses.

    The request is recorded in the client's access log, with its filters and the user that it names.

    Required permission: AccessControl.HistoryView
    """
    wanted, after = numbered_page(call)
    query = HistoryQuery(
        client_ext_id=call.subject.client_ext_id,
        user_ext_id=text_of(call, "userExtId"),
        actor=text_of(call, "actor"),
        topic=event_type(call),
        trace_id=trace_id(call),
        begin=query_value(call, "from", Date),
        end=query_value(call, "to", Date),
    )
    if query.begin and query.end and query.begin > query.end:
        raise Malformed("from must not be after to.")
    await call.note_read(query.user_ext_id)
    read = partial(search_log, after=after, limit=wanted.limit, ledger=call.part(RecordPart).history)
    items, more = await run_in_threadpool(read, query)
    shown = fitting(items)
    more = more or len(shown) < len(items)
    return numbered_page_response(wanted, shown, shown[-1]["position"] if more else None)


@router.get(
    CHECKPOINTS,
    summary="List the checkpoints of a client",
    operation_id="listCheckpoints",
    responses=lists(CheckpointPage, "The checkpoints of the client"),
)
async def checkpoints(
    call: Annotated[Call, depends_for_client(HISTORY_VIEW)],
    limit: Limit = None,
    continuationToken: ContinuationToken = None,  # noqa: N803
) -> Response:
    """Returns the signed checkpoints of the client's ledger, by size. The read is recorded in the client's access log.

    Required permission: AccessControl.HistoryView
    """
    wanted, after = numbered_page(call)
    ledger = call.part(RecordPart).ledger
    found = await run_in_threadpool(ledger.checkpoints, call.subject.client_ext_id, after, wanted.limit + 1)
    call.count_read()
    shown = [_shown(checkpoint) for checkpoint in found[: wanted.limit]]
    return numbered_page_response(wanted, shown, shown[-1]["size"] if len(found) > wanted.limit else None)


def _shown(checkpoint: Checkpoint) -> CheckpointItem:
    return {
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "note": checkpoint.note,
        "made": utc_date(checkpoint.made),
    }
