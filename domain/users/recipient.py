"""The user to whom tickets are delivered. Contains personal data, which no event contains."""

from dataclasses import dataclass, field, fields
from datetime import datetime

from domain.shared.commitment import commitment
from domain.shared.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The data that a client registers about a user; None: unknown. Requests, responses and imports have its fields."""

    email: str | None = field(metadata={"description": "The mail address; null: unknown."})
    name: str | None = None
    language: str | None = field(
        default=None, metadata={"description": "Preferred language of messages (BCP 47)."}
    )
    postal_address: tuple[str, ...] | None = field(
        default=None,
        metadata={"description": "The address lines below the name, which they may contain; null: unknown."},
    )
    time_zone: str | None = field(
        default=None,
        metadata={"description": "Time zone of the times in messages (IANA); null: as the service is set."},
    )

    @property
    def addresses(self) -> tuple[object, ...]:
        """The fields that determine where a ticket is delivered."""
        return self.email, self.postal_address


@dataclass(frozen=True, kw_only=True)
class _User:
    """The ids of a user; a base class, since stored rows begin with them."""

    client_ext_id: str
    user_ext_id: str


@dataclass(frozen=True, kw_only=True)
class Recipient(Contact, _User):
    """A user; an erasable row of table `recipients`. `version` is incremented by each change.

    address_version: increases with each change of an address, also if the user is erased and registered again. salt: of the
    commitment to the row. Both are None in rows that release 1.0 wrote.
    """

    created: datetime
    last_modified: datetime
    version: int
    address_version: int | None = None
    salt: bytes | None = field(default=None, repr=False)

    @property
    def contact(self) -> Contact:
        """The data that the client has registered."""
        return Contact(**{part.name: getattr(self, part.name) for part in fields(Contact)})

    @property
    def addressed_at(self) -> int:
        """The number of the last change of an address, as far as it is known."""
        return self.address_version or self.version

    @property
    def commitment(self) -> str | None:
        """The commitment to every stored field except the salt; None: release 1.0 wrote the row."""
        if self.salt is None:
            return None
        return commitment(self.salt, {name: value for name, value in vars(self).items() if name != "salt"})

    @property
    def subject(self) -> Subject:
        """The ids of the user."""
        return Subject(self.client_ext_id, self.user_ext_id)
