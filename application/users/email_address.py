"""Mail addresses (RFC 5321, and RFC 6531 for characters beyond ASCII), without quoted local parts and address literals."""

from typing import NamedTuple

import email_validator

MAX_LENGTH = 254
_MAX_LOCAL_OCTETS = 64
# Mail servers of private networks have such domains.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


class Mailbox(NamedTuple):
    """The parts of an address. domain: in ASCII, as sent (RFC 5890)."""

    local: str
    domain: str


def parse_mailbox(text: str) -> Mailbox:
    """Return the parts of an address. Raises ValueError, with the rule, for an invalid one."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"An email address has at most {MAX_LENGTH} characters.")
    if "=?" in text:
        raise ValueError("An email address must not contain =?, which a header would decode (RFC 2047).")
    found = email_validator.validate_email(
        text, strict=True, globally_deliverable=False, check_deliverability=False
    )
    if len(found.local_part.encode()) > _MAX_LOCAL_OCTETS:
        raise ValueError(f"An email address has at most {_MAX_LOCAL_OCTETS} bytes before the @-sign.")
    # The letter case of the local part is the mail server's, also for names such as Info.
    local = text.rpartition("@")[0] if found.ascii_local_part else found.local_part
    return Mailbox(local, found.ascii_domain)
