"""The free text of events, stored apart from them: an event contains a commitment to it, so the text can be erased."""

from collections.abc import Mapping
from typing import NamedTuple, Never
from uuid import UUID

from application.shared.ports import Randomness
from application.transaction.command import ANSWERS, Answer, CommandKey
from application.transaction.records import Changes, Load, RecordSet
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.commitment import SALT_BYTES
from domain.shared.errors import Refusal
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
TEXTS_OF_USER = RecordSet[Subject, Never]("texts_of_user")
"""The texts of all events of a user before the newest erasure. They are only removed, when no process can add another one."""
ANSWERS_OF_USER = RecordSet[CommandKey, Answer]("answers_of_user")
"""The stored answers to the commands of a user; a response contains a comment."""


def set_apart(changes: Changes, randomness: Randomness) -> None:
    """Add a commitment to each event with a reason, and put the reason into a separate row."""
    for index, (event, subject) in enumerate(zip(changes.events, changes.subjects, strict=True)):
        if event.reason:
            salt = randomness.octets(SALT_BYTES)
            changes.events[index] = event.committed(salt)
            key = DetailsKey(subject, event.originator_id, event.originator_version)
            changes.put(DETAILS, key, None, Details(salt, event.reason))


def answers_of(subject: Subject) -> Load:
    """Load the answers to the commands of a user."""
    return Load(ANSWERS_OF_USER, subject)


def erase_texts(unit: UnitOfWork, subject: Subject, refusal: Refusal) -> None:
    """Delete the texts of a user's events, also those of the same batch and of other processes.

    refusal: replaces the responses to the user's commands, so that a retry is still not executed.
    """
    unit.remove(TEXTS_OF_USER, subject)
    stored = unit.all(ANSWERS_OF_USER)
    for command, answer in _of_user(subject, stored):
        unit.put(ANSWERS_OF_USER, command, answer.replaced(refusal))
    for command, answer in _of_user(subject, unit.all(ANSWERS)):
        if command not in stored:
            unit.put(ANSWERS, command, answer.replaced(refusal))


def _of_user(subject: Subject, answers: Mapping[CommandKey, Answer]) -> list[tuple[CommandKey, Answer]]:
    return [
        (command, answer)
        for command, answer in answers.items()
        if (command.client_ext_id, answer.user_ext_id) == subject and not answer.refusal
    ]
