"""Mail addresses (RFC 5321, and RFC 6531 for characters beyond ASCII), without quoted local parts and address literals."""

import re
from typing import NamedTuple

import email_validator

MAX_LENGTH = 254
_MAX_LOCAL_OCTETS = 64
# RFC 1123, section 2.1: letters, digits and inner hyphens.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ANY_HOST = "host.example"
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
    local, _, domain = text.rpartition("@")
    # The library also applies the rules of new registrations, such as that of two hyphens, which existing hosts can break.
    is_host = local and _HOST.fullmatch(domain)
    found = email_validator.validate_email(
        f"{local}@{_ANY_HOST}" if is_host else text,
        strict=True,
        globally_deliverable=False,
        check_deliverability=False,
    )
    if len(found.local_part.encode()) > _MAX_LOCAL_OCTETS:
        raise ValueError(f"An email address has at most {_MAX_LOCAL_OCTETS} bytes before the @-sign.")
    # The letter case of the local part is the mail server's, also for names such as Info.
    exact = local if found.ascii_local_part else found.local_part
    return Mailbox(exact, domain.lower() if is_host else found.ascii_domain)
