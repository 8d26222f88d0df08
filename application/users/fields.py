"""The fields of a user that a client registers, with their rules; the domain's Contact has the same fields."""

from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from application.shared.fields import NO_CONTROL_CHARACTERS, PRINTABLE, mismatch
from application.shared.wire import from_camel_case
from application.users.email_address import MAX_LENGTH, parse_mailbox
from domain.users.recipient import Contact


def _checked(email: str) -> str:
    try:
        parse_mailbox(email)
    except ValueError as error:
        message = "must be an address such as user@example.com. {rule}"
        raise PydanticCustomError("email", message, {"rule": str(error)}) from None
    return email


Email = Annotated[
    str,
    StringConstraints(max_length=MAX_LENGTH),
    AfterValidator(_checked),
    Field(examples=["user@example.com"], json_schema_extra={"format": "idn-email"}),
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


def _zone(name: str) -> str:
    if name not in _time_zones():
        raise PydanticCustomError("time_zone", "must be a time zone such as Europe/Zurich")
    return name


@cache
def _time_zones() -> set[str]:
    return available_timezones() - {"localtime"}  # the zone of a server


TimeZone = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_zone), Field(examples=["Europe/Zurich"])
]


class UserFields(BaseModel):
    """The complete user data; an omitted field is cleared."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None
    name: Name | None = None
    language: Language | None = None
    postalAddress: PostalAddress | None = None
    timeZone: TimeZone | None = None

    @property
    def contact(self) -> Contact:
        """The data as a value of the domain."""
        return from_camel_case(Contact, self)
