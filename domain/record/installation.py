"""The events of an installation: maintenance of a store by operators and jobs.

They are one stream in the ledger of a reserved client, which no request and no token can name (ADR 20).
"""

from dataclasses import dataclass
from uuid import UUID

from domain.shared.event import Event, Origin
from domain.shared.subject import Subject

AGGREGATE = "Installation"
INSTALLATION = Subject(".")
INSTALLATION_STREAM = UUID("0d6c3f6e-5f0e-5a5b-8a51-3e0f5b7c1d92")
DONE, PASSED, FAILED = "done", "passed", "failed"


@dataclass(frozen=True, kw_only=True)
class InstallationEvent(Event):
    """An event of the installation; it contains no personal data except the actor."""

    AGGREGATE = AGGREGATE
    originator_topic: str = AGGREGATE

    @property
    def origin(self) -> Origin:
        """The one stream of the installation."""
        return Origin(INSTALLATION_STREAM, INSTALLATION, INSTALLATION.client_ext_id)


@dataclass(frozen=True, kw_only=True)
class OperatorActed(InstallationEvent):
    """An operator changed the store or its keys by a command.

    operation: the command. outcome: `done`, or `failed` if it reported faults. figures: numbers and names by their meaning.
    """

    TOPIC = "OperatorActed"
    operation: str
    outcome: str
    figures: dict[str, int | str]


@dataclass(frozen=True, kw_only=True)
class RecordChecked(InstallationEvent):
    """The record was checked.

    operation: the command. outcome: `passed` or `failed`. figures: the numbers of checked items and of findings.
    """

    TOPIC = "RecordChecked"
    operation: str
    outcome: str
    figures: dict[str, int | str]


@dataclass(frozen=True, kw_only=True)
class StoreRestored(InstallationEvent):
    """The store was restored from a backup, and an era began.

    number, era, began: the row of the era, with the time as text. cuts: hex SHA-256 of the size of each client's ledger at
    that time. A restore by release 1.0.0 has no event; the first event of the installation is preceded by one for each such
    era.
    """

    TOPIC = "StoreRestored"
    number: int
    era: str
    began: str
    cuts: str


@dataclass(frozen=True, kw_only=True)
class ClockSetBack(InstallationEvent):
    """The clock of a process was set back. seconds: the time between the newest event and the clock."""

    TOPIC = "ClockSetBack"
    seconds: int
