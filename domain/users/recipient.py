"""The user to whom tickets are delivered. Contains personal data, which no event contains."""

from dataclasses import dataclass
from datetime import datetime

from domain.shared.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A user; an erasable row of table `recipients`. `version` is incremented by each change."""

    client_ext_id: str
    user_ext_id: str
    email: str | None
    name: str | None
    language: str | None
    postal_address: tuple[str, ...] | None = None
    created: datetime
    last_modified: datetime
    version: int

    @property
    def subject(self) -> Subject:
        """The ids of the user."""
        return Subject(self.client_ext_id, self.user_ext_id)
