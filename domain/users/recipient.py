"""A user: where tickets are delivered. Personal data, which is in no event."""

from dataclasses import dataclass
from datetime import datetime

from domain.shared.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A user, in an ordinary, erasable row of table `recipients`; `version` rises with each change."""

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
        """The user's ids."""
        return Subject(self.client_ext_id, self.user_ext_id)
