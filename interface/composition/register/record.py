"""Registers the handlers, tables and routes of the record."""

from application.record.access_log import NoteAccess, note_access
from application.record.past_states import PastStates
from application.record.proof_nodes import ProofNodes
from application.record.stream_heads import StreamHeads
from interface.composition.register.contexts import Capability, RouteContext
from interface.http.core.concurrency_limit import ConcurrencyLimit
from interface.http.core.permissions import HISTORY_VIEW
from interface.http.core.room import Room
from interface.http.record import evidence_routes, routes, well_known_routes
from interface.outbound.files.head_files import HeadFiles
from interface.outbound.sql.access_log_table import ACCESS_LOG_TABLE
from interface.outbound.sql.era_tables import ERA_CUT_TABLE, ERA_TABLE

# Each needs temporary files.
EXPORTS_PER_CLIENT = 4
EXPORTS = 8


def room(context: RouteContext) -> Room:
    """Return the routes of the record."""
    part = routes.RecordPart(
        ledger=context.store,
        history=context.reads,
        signer=context.signer,
        past_states=PastStates(),
        heads=StreamHeads(saved=HeadFiles(context.settings.heads_dir)),
        kept_nodes=ProofNodes(),
        exports=ConcurrencyLimit(
            "exports of evidence", per_client=EXPORTS_PER_CLIENT, of_all=EXPORTS, retry_after_seconds=5
        ),
        published_keys=context.signer.published,
    )
    return Room([routes.router, evidence_routes.router, well_known_routes.router], part)


CAPABILITY = Capability(
    handlers={NoteAccess: note_access},
    tables=(ACCESS_LOG_TABLE, ERA_TABLE, ERA_CUT_TABLE),
    room=room,
    permissions=(HISTORY_VIEW,),
)
