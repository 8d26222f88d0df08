"""What the fields of requests and imports may hold, whichever edge they come in by."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_PRINTABLE_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"

Comment = Annotated[str, StringConstraints(max_length=1000, pattern=_PRINTABLE_LINES)]
ExtId = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=_PRINTABLE)]
# What a mail transport takes in an envelope: ASCII, one @, no blanks, quotes or brackets; at most 254 (RFC 5321).
# No question mark: in a header, =?…?= would be decoded (RFC 2047).
Email = Annotated[
    str,
    StringConstraints(
        max_length=254,
        pattern=r"^[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,30}(\.[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,30}){0,3}"
        r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){0,3}[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
    ),
    Field(examples=["user@example.com"]),
]
# So many lines, and so long, as the window of an envelope shows.
AddressLine = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=_PRINTABLE)]
PostalAddress = Annotated[
    list[AddressLine], Field(min_length=1, max_length=6, examples=[["Bahnhofstrasse 1", "8001 Zürich"]])
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
Language = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"), Field(examples=["en"])
]


class UserFields(BaseModel):
    """All that is known of a user; what is left out is then unknown."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None
    name: Name | None = None
    language: Language | None = None
    postalAddress: PostalAddress | None = None
