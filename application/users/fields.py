"""The fields of a user that a client registers, with their rules; the domain's Contact has the same fields."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from application.shared.fields import NO_CONTROL_CHARACTERS, PRINTABLE, mismatch
from application.shared.wire import from_camel_case
from domain.users.recipient import Contact

# An address that is valid in an SMTP envelope: ASCII, one @, no blanks, quotes or brackets; at most 254 (RFC 5321).
# No question mark: =?…?= would be decoded in a header (RFC 2047).
Email = Annotated[
    str,
    StringConstraints(
        max_length=254,
        pattern=r"^[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,30}(\.[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,30}){0,3}"
        r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){0,3}[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
    ),
    mismatch("must be an address such as user@example.com, in ASCII and without quotation marks"),
    Field(examples=["user@example.com"]),
]
# The limits are those of a window envelope.
AddressLine = Annotated[
    str, StringConstraints(min_length=1, max_length=60, pattern=PRINTABLE), NO_CONTROL_CHARACTERS
]
PostalAddress = Annotated[
    list[AddressLine],
    Field(min_length=1, max_length=6, examples=[["Bahnhofstrasse 1", "8001 Zürich"]]),
    AfterValidator(tuple),
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE), NO_CONTROL_CHARACTERS
]
Language = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"),
    mismatch("must be a language tag such as en or de-CH"),
    Field(examples=["en"]),
]


class UserFields(BaseModel):
    """The complete user data; an omitted field is cleared."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None
    name: Name | None = None
    language: Language | None = None
    postalAddress: PostalAddress | None = None

    @property
    def contact(self) -> Contact:
        """The data as a value of the domain."""
        return from_camel_case(Contact, self)
