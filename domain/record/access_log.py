"""The access log of a client: refused operations and recorded reads.

Each entry is an event; the log has no state except its version.
"""

from dataclasses import dataclass
from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from domain.shared.attribution import Attribution
from domain.shared.event import Event, Origin
from domain.shared.stream_ids import name_based_id
from domain.shared.subject import Subject

AGGREGATE = "AccessLog"
_STREAMS = UUID("5b1c8f2e-6f0d-5a39-9b7e-0d7c1a3f4e62")


def access_stream_id(client_ext_id: str) -> UUID:
    """Return the id of the client's access log; there is one stream per client."""
    return name_based_id(_STREAMS, client_ext_id)


@dataclass(frozen=True, kw_only=True)
class AccessNoted(Event):
    """A refused operation, or a read that must be recorded.

    operation: the operationId, or the command of the command line. outcome: `read`, or the code of the refusal, such
    as `errors.policyViolation`. count: the number of identical accesses that the entry represents. filters: the names
    of the filters of a search; their values may be personal data, so they are the reason, which can be erased: as in a
    query (`actor=anna&userExtId=u-1`), a line for each search; without them if several users are concerned. users: the
    users concerned, if they are several. Both are absent from the stored event if they are empty, as in release 1.0.0.
    """

    TOPIC = "AccessNoted"
    AGGREGATE = AGGREGATE
    originator_topic: str = AGGREGATE
    client_ext_id: str
    user_ext_id: str
    operation: str
    outcome: str
    count: int
    filters: tuple[str, ...] | UnsetType = UNSET
    users: tuple[str, ...] | UnsetType = UNSET

    @property
    def origin(self) -> Origin:
        """The access log of the client."""
        subject = Subject(self.client_ext_id, self.user_ext_id)
        return Origin(access_stream_id(self.client_ext_id), subject, self.client_ext_id)


def next_access(
    client_ext_id: str,
    version: int,
    *,
    user_ext_id: str,
    operation: str,
    outcome: str,
    count: int,
    filters: tuple[str, ...],
    users: tuple[str, ...],
    by: Attribution,
) -> AccessNoted:
    """Return the entry that follows this version (0: the log is empty)."""
    return AccessNoted(
        originator_id=access_stream_id(client_ext_id),
        originator_version=version + 1,
        client_ext_id=client_ext_id,
        user_ext_id=user_ext_id,
        operation=operation,
        outcome=outcome,
        count=count,
        filters=filters or UNSET,
        users=users or UNSET,
        **asdict(by),
    )
