"""The types of the fields that requests and imports share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_PRINTABLE_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"

Comment = Annotated[str, StringConstraints(max_length=1000, pattern=_PRINTABLE_LINES)]
ExtId = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=_PRINTABLE)]
# An address that is valid in an SMTP envelope: ASCII, one @, no blanks, quotes or brackets; at most 254 (RFC 5321).
# No question mark: =?…?= would be decoded in a header (RFC 2047).
Email = Annotated[
    str,
    StringConstraints(
        max_length=254,
        pattern=r"^[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,30}(\.[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,30}){0,3}"
        r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){0,3}[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
    ),
    Field(examples=["user@example.com"]),
]
# The limits are those of a window envelope.
AddressLine = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=_PRINTABLE)]
PostalAddress = Annotated[
    list[AddressLine], Field(min_length=1, max_length=6, examples=[["Bahnhofstrasse 1", "8001 Zürich"]])
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
Language = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"), Field(examples=["en"])
]


class UserFields(BaseModel):
    """The complete user data; an omitted field is cleared."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None
    name: Name | None = None
    language: Language | None = None
    postalAddress: PostalAddress | None = None
