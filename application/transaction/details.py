"""The free text of events, stored apart from them: an event contains a commitment to it, so the text can be erased."""

from typing import NamedTuple
from uuid import UUID

from application.shared.ports import Randomness
from application.transaction.records import Changes, RecordSet
from domain.shared.commitment import SALT_BYTES
from domain.shared.subject import Subject


class DetailsKey(NamedTuple):
    """The event to which a text belongs. subject: of the event."""

    subject: Subject
    stream: UUID
    version: int


class Details(NamedTuple):
    """The text of an event, and the salt of the commitment to it."""

    salt: bytes
    reason: str


DETAILS = RecordSet[DetailsKey, Details]("details")


def set_apart(changes: Changes, randomness: Randomness) -> None:
    """Add a commitment to each event with a reason, and put the reason into a separate row."""
    for index, (event, subject) in enumerate(zip(changes.events, changes.subjects, strict=True)):
        if event.reason:
            salt = randomness.octets(SALT_BYTES)
            changes.events[index] = event.committed(salt)
            key = DetailsKey(subject, event.originator_id, event.originator_version)
            changes.put(DETAILS, key, None, Details(salt, event.reason))
