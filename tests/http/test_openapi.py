import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from domain.ticket_credential import State
from interface.http.problems import INTERNAL, PROBLEMS
from tests.support.web import Web

# What the seed names, in its order (docs/seed-regenerate-a-ticket.txt).
STATES = ["initial", "active", "tmp-locked", "fail-locked", "reset-code", "admin-changed", "disabled", "archived"]
TYPES = [
    "Password", "Certificate", "SecurID User Mapping", "Ticket Authorization", "Safeword User Mapping", "OTP Card",
    "Temporary Strong Password", "Generic Credential", "Kerberos", "mTan", "Vasco", "PUK", "URL Ticket",
    "DevicePassword", "MobileSignature", "SAML Federation", "Security Questions", "Context Password", "OATH",
    "FIDO UAF Authenticator", "Recovery Code", "FIDO2 Authenticator",
]  # fmt: skip
FIELDS = [
    "created", "lastModified", "version", "extId", "userExtId", "policyExtId", "stateName", "stateChangeReason",
    "stateChangeDetail", "lastSuccessfulLoginDate", "successfulLoginCount", "lastFailedLoginDate",
    "failedLoginCount", "modificationComment", "type", "validity", "ticket", "failureCount", "successCount",
    "resetCount",
]  # fmt: skip
