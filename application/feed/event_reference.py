"""The reference of the events for subscribers: the meaning of each published field, and each type's effect on a read model.

docs/events.md and the JSON Schemas are generated from it and from the event classes. Every published field and every type
has a line here (tests/system/test_event_schemas.py).
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints

from msgspec import UnsetType
from pydantic.alias_generators import to_camel

from application.feed.feed_event import IMPLIED, PUBLISHED_NAMES
from application.feed.formats.cloud_events import EventData
from application.record.streams import EVENTS
from domain.shared.event import Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, Mapping[str, str]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    types.NoneType: {"type": "null"},
    dict: {"type": "object"},
}


def meaning(event: type[Event]) -> str:
    """Return the meaning of a type: the first sentence of its class."""
    return (event.__doc__ or "").partition("\n")[0]


@cache
def data_schema(topic: str) -> dict[str, Any]:
    """Return the JSON Schema of the member `data` of the events of a type.

    Schemas only grow: by fields, and by values in a list. Another meaning is another type.
    """
    schema = _object(get_type_hints(EventData, include_extras=True))
    return {
        "title": topic,
        "description": meaning(EVENTS[topic]),
        **schema,
        "properties": schema["properties"] | {"changed": _changed(topic)},
    }


def _changed(topic: str) -> dict[str, Any]:
    hints = get_type_hints(EVENTS[topic])
    published = {name: hints[field] for field, name in PUBLISHED_NAMES.items() if field in hints}
    published |= {name: type(value) for name, value in IMPLIED.get(topic, {}).items()}
    return _object({name: Annotated[hint, FIELDS[name]] for name, hint in published.items()})


def _object(hints: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _schema_of(hint) for name, hint in hints.items()},
        "required": [name for name, hint in hints.items() if not _is_optional(hint)],
    }


def _is_optional(hint: Any) -> bool:
    """Return whether the field may be absent."""
    return get_origin(hint) is NotRequired or UnsetType in get_args(
        get_args(hint)[0] if get_origin(hint) is Annotated else hint
    )


def _schema_of(hint: Any) -> dict[str, Any]:
    """Return the schema of a type as the feed encodes it. Raises KeyError for a type that the feed does not encode."""
    if get_origin(hint) is NotRequired:
        [hint] = get_args(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        [text] = [getattr(part, "description", part) for part in hint.__metadata__]
        return _schema_of(arguments[0]) | {"description": text}
    if origin in (Union, types.UnionType):
        kinds = [_schema_of(argument) for argument in arguments if argument is not UnsetType]
        return {"anyOf": kinds} if len(kinds) > 1 else kinds[0]
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0])}
    if is_dataclass(hint):
        known = get_type_hints(hint)
        texts = {part.name: part.metadata["description"] for part in fields(hint)}
        return _object({to_camel(name): Annotated[known[name], text] for name, text in texts.items()})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": "string", "enum": [value.value for value in hint]}
    return dict(_SCALARS[origin or hint])


FIELDS = {
    "extId": "External ID of the credential.",
    "policyExtId": "External ID of the policy.",
    "stateName": "State of the credential after the event.",
    "stateChangeReason": "Reason for the last state change.",
    "created": "Creation of the credential in the other system, UTC, in seconds.",
    "lastSuccessfulLoginDate": "Last accepted ticket, UTC, in seconds.",
    "successfulLoginCount": "Accepted tickets since the last initialization or reset.",
    "lastFailedLoginDate": "Last wrong ticket, UTC, in seconds.",
    "failedLoginCount": "Wrong tickets in a row after the event; absent from events of release 1.0: 0.",
    "lockedUntil": "End of the temporary lock, UTC, in seconds; null: no temporary lock.",
    "validity.from": "Start of the validity, UTC, in seconds.",
    "validity.to": "End of the validity, UTC, in seconds.",
    "resetCount": "Number of resets of the credential.",
    "failureCount": "Wrong tickets over the life of the credential.",
    "successCount": "Accepted tickets over the life of the credential.",
    "source": "Name of the other system.",
    "sourceVersion": "Version of the credential in the other system; null: unknown.",
    "historyDigest": "SHA-256 of the document with the history in the other system, in hexadecimal; absent: without such a document.",
    "defaultPolicy": "Whether the policy is the default of the client.",
    "parameters": "All parameters of the policy.",
    "operation": "The operationId, or the command of the command line.",
    "outcome": "`read`, or the code of the refusal; of maintenance `done`, `passed` or `failed`.",
    "count": "Number of equal accesses that the event represents.",
    "filters": "Names of the filters of a search; `reason` has their values, as in a query, a line for each search, unless several users are concerned or the user was erased.",
    "fields": "Names of the changed fields of the user; never their values.",
    "users": "The users whose data were read, if there are several.",
    "name": "Name of the subscription.",
    "terms": "Complete configuration of the subscription.",
    "status": "Status of the subscription after the event.",
    "position": "The subscription continues after this position.",
    "ticketVersion": "Version of the credential at which the ticket was minted.",
    "delivery": "The last attempt.",
    "why": "Reason why the ticket was not delivered.",
    "figures": "Numbers and names by their meaning.",
    "number": "Number of the era; the first restore begins era 2.",
    "era": "Name of the era, which is part of the ids of later events.",
    "began": "Time of the restore, UTC.",
    "cuts": "SHA-256 of the sizes of all ledgers at the restore, in hexadecimal.",
    "seconds": "Time between the newest event and the clock.",
    "job": "The bulk job; absent from a reset that is no item of a bulk job.",
    "userCount": "Number of the users of the bulk job.",
    "usersDigest": "SHA-256 of the ids of these users as a JSON array without blanks, in the order of the job, in hexadecimal.",
    "pace": "Maximum of resets per second; null: no maximum.",
    "overridesLimit": "Whether the daily limit of tickets per user does not apply.",
    "outcomes": "Number of items by outcome: `reset`, or the name of a refusal.",
}
"""The meaning and the unit of each published field, by its name in `changed`."""

_NO_STATE = "No effect on the state of a ticket."
_INSTALLATION = f"{_NO_STATE} Occurs only in the ledger of the installation, which is no client's."
READ_MODEL = {
    "TicketCreated": "Insert the credential, with all counters 0, `stateChangeReason` `initialized`, and `reason` as"
    " comment. A credential deleted before is replaced; its versions continue.",
    "TicketImported": "Insert or replace the credential, with the fields and `reason` as comment. A temporary lock ends as after"
    " `WrongTicketPresented`.",
    "TicketRegenerated": "Set the fields, `stateChangeReason` `reset`, and `reason` as comment, also if it is null. Set"
    " `successfulLoginCount` and `failedLoginCount` to 0, and remove the lock.",
    "TicketStateChanged": "Set the state and `stateChangeReason` `changed-by-admin`, set `failedLoginCount` to the field, or"
    " to 0 without it, and remove the lock. A `reason` is the new comment; null keeps the comment, unless `reasonErased`.",
    "TicketPolicyAssigned": "Set the policy. A `reason` is the new comment; null keeps the comment, unless `reasonErased`.",
    "TicketValidityChanged": "Set the validity. A `reason` is the new comment; null keeps the comment, unless `reasonErased`.",
    "TicketCommented": "Set the comment to `reason`.",
    "TicketVerified": "Set the state; if it was `tmp-locked`, set `stateChangeReason` `unlock`. Add 1 to `successCount`"
    " and `successfulLoginCount`, set `lastSuccessfulLoginDate` to `time` and `failedLoginCount` to 0, and remove the lock.",
    "WrongTicketPresented": "Set the state and the lock; if the state is not `active`, set `stateChangeReason`"
    " `too-many-login-failures`. Add 1 to `failureCount` and `failedLoginCount`, and set `lastFailedLoginDate` to `time`."
    " After `lockedUntil` the state is `active` and `stateChangeReason` is `unlock`, without an event.",
    "TicketHashUpgraded": "Only the version and `lastModified` change, as with every event of a ticket.",
    "TicketExpirySoon": "Only the version and `lastModified` change, as with every event of a ticket.",
    "TicketExpired": "Only the version and `lastModified` change: an expired ticket keeps its state.",
    "TicketDeleted": "Remove the credential.",
    "TicketDelivered": f"{_NO_STATE} The delivery of this ticket is sent. `version` counts the events of the delivery.",
    "TicketDeliveryFailed": f"{_NO_STATE} The delivery of this ticket failed, until it is retried. `version` counts the"
    " events of the delivery.",
    "TicketDeliveryRetried": f"{_NO_STATE} The delivery of this ticket is queued again. `version` counts the events of the"
    " delivery.",
    "TicketDeliveryEnded": f"{_NO_STATE} The delivery of this ticket ended. `version` counts the events of the delivery.",
    "PolicyDefined": f"{_NO_STATE} Insert or replace the policy.",
    "PolicyDefaultWithdrawn": f"{_NO_STATE} The policy is no longer the default: a `PolicyDefined` with `defaultPolicy`"
    " of another policy follows.",
    "SubscriptionDefined": f"{_NO_STATE} Insert or replace the subscription.",
    "SubscriptionMoved": f"{_NO_STATE} The subscription continues after another position.",
    "SubscriptionStatusChanged": f"{_NO_STATE} Set the status of the subscription.",
    "SubscriptionDeleted": f"{_NO_STATE} Remove the subscription.",
    "UserRegistered": f"{_NO_STATE} Insert the user. `version` counts the events of the user.",
    "UserChanged": f"{_NO_STATE} Read the user again if you keep a copy of the data. `version` counts the events of the user.",
    "UserErased": f"{_NO_STATE} Delete every copy of the data of the user; a `TicketDeleted` precedes it if there is a ticket.",
    "BulkJobStarted": f"{_NO_STATE} A `TicketRegenerated` with this `job` follows for each item that is reset.",
    "BulkJobPaused": f"{_NO_STATE} The bulk job is paused.",
    "BulkJobResumed": f"{_NO_STATE} The bulk job is running.",
    "BulkJobCancelled": f"{_NO_STATE} The bulk job is cancelled: its other items are never processed.",
    "BulkJobFinished": f"{_NO_STATE} The bulk job is finished: each item was processed.",
    "AccessNoted": f"{_NO_STATE} Count it as `count` accesses by `actor`.",
    **dict.fromkeys(("OperatorActed", "RecordChecked", "StoreRestored", "ClockSetBack"), _INSTALLATION),
}
"""The effect of an event of each type on a read model of the tickets of a client."""
