"""Writes rows of an import from nevisIDM: its REST resource, or a CSV of its database. Python 3.11 or newer, nothing else.

convert.py rest URL CLIENT < user-ids    a row for each user with a ticket; the token is in NEVISIDM_TOKEN
convert.py csv < credentials.csv         a row for each line
convert.py policy < policy.json          the body of PUT .../policies/ID from a policy of nevisIDM

mapping.md has the mapping of each field. Standard error has a line for everything that is not converted.
"""

import csv
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

# Columns of a CSV by their names in nevisIDM's database, besides the names of the REST resource.
COLUMNS = {
    "extid": "extId",
    "user_extid": "userExtId",
    "policy_extid": "policyExtId",
    "state": "stateName",
    "state_change_reason": "stateChangeReason",
    "state_change_detail": "stateChangeDetail",
    "ticket": "ticket",
    "validity_from": "from",
    "validity_to": "to",
    "ctl_cre_dat": "created",
    "ctl_mod_dat": "lastModified",
    "ctl_tcn": "version",
    "last_login": "lastSuccessfulLoginDate",
    "success_count": "successfulLoginCount",
    "last_failure": "lastFailedLoginDate",
    "failure_count": "failedLoginCount",
    "ticket_failure_count": "failureCount",
    "ticket_success_count": "successCount",
    "reset_count": "resetCount",
    "modification_comment": "modificationComment",
    "auto_transition_date": "lockedUntil",
}
DATES = (
    "created",
    "lastModified",
    "lastSuccessfulLoginDate",
    "lastFailedLoginDate",
    "lockedUntil",
    "from",
    "to",
)
COUNTS = ("version", "successfulLoginCount", "failedLoginCount", "failureCount", "successCount", "resetCount")
TEXTS = ("extId", "userExtId", "policyExtId", "stateName", "stateChangeReason", "stateChangeDetail", "ticket")
FIELDS = {*DATES, *COUNTS, *TEXTS, "modificationComment", "type", "validity"}
# The codes of the database, from 0.
REASONS = [
    "customized-reason-code",
    "initialized",
    "activated",
    "too-many-login-failures",
    "reset-by-admin",
    "changed-by-admin",
    "changed-by-user",
    "logged-in-with-strong-cred",
    "cert-uploaded",
    "policy-check-failed",
    "renewal",
    "reset",
    "cert-revoked",
    "unlock",
    "changed-by-batchjob",
]
STATES = {"locked-temporary": "tmp-locked", "locked": "fail-locked", "temporarily-locked": "tmp-locked"}
NUMBERS = {
    *(
        "ticketLength",
        "credentialLifetime",
        "maxCredFailureCount",
        "tmpLockingThreshold",
        "tmpLockingDuration",
    ),
    "closeToExpirationThreshold",
}
METHODS = ("PDFstore", "Email", "HTMLemail", "PDFemail", "None")


def row_of(found: dict, dropped: Counter) -> dict:
    """Return the row of a credential: a response of nevisIDM, or a line of a CSV by the names of the response."""
    values = {**found, **(found.get("validity") or {})}
    row = {}
    for name, value in values.items():
        if name not in FIELDS:
            dropped[name] += 1
        elif value not in (None, "") and name != "validity":
            row[name] = _value(name, value)
    row["validity"] = {name: row.pop(name) for name in ("from", "to") if name in row}
    return row


def _value(name: str, value: object) -> object:
    if name in DATES:
        moment = datetime.fromisoformat(str(value))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if name in COUNTS:
        return int(value)
    if name == "stateName":
        state = str(value).lower().replace("_", "-")
        return STATES.get(state, state)
    if name == "stateChangeReason":
        return REASONS[int(value)] if str(value).isdigit() else str(value).lower().replace("_", "-")
    return value


def policy_of(found: dict, dropped: Counter) -> dict:
    """Return the body that defines a policy of nevisIDM here."""
    parameters = {}
    for name, value in found["parameters"].items():
        if name in NUMBERS:
            parameters[name] = int(value)
        elif name == "ticketCharacterSet":
            parameters[name] = "".join(dict.fromkeys(value))
        elif name == "sendingMethod":
            methods = [method.strip() for method in value.split(",")]
            parameters[name] = [method for method in methods if method in METHODS] or ["None"]
            dropped.update(f"sendingMethod {method}" for method in methods if method not in METHODS)
        elif name == "hashAlgorithm":
            parameters[name] = "SSHA256"  # also for SSHA, by which no new ticket is hashed here
        else:
            dropped[name] += 1
    return {"parameters": parameters, "defaultPolicy": bool(found.get("defaultPolicy"))}


def from_rest(url: str, client: str, dropped: Counter) -> Iterator[dict]:
    """Yield a row for each user whose id is a line of standard input."""
    headers = {"Authorization": f"Bearer {os.environ['NEVISIDM_TOKEN']}", "Accept": "application/json"}
    for line in sys.stdin:
        client_id, user = (urllib.parse.quote(text, safe="") for text in (client, line.strip()))
        path = f"{url.rstrip('/')}/nevisidm/api/core/v1/{client_id}/users/{user}/ticket"
        try:
            request = urllib.request.Request(path, headers=headers)
            with urllib.request.urlopen(request, timeout=60) as response:
                yield row_of(json.load(response), dropped)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            dropped["users without a ticket"] += 1


def from_csv(dropped: Counter) -> Iterator[dict]:
    """Yield a row for each line of a CSV on standard input."""
    for line in csv.DictReader(sys.stdin):
        named = {COLUMNS.get(name.strip().lower(), name.strip()): value for name, value in line.items()}
        yield row_of(named, dropped)


def main(arguments: list) -> None:
    dropped: Counter = Counter()
    if arguments[:1] == ["policy"]:
        print(json.dumps(policy_of(json.load(sys.stdin), dropped)))
    else:
        rows = from_csv(dropped) if arguments == ["csv"] else from_rest(*arguments[1:], dropped)
        for row in rows:
            print(json.dumps(row))
    for name, count in dropped.items():
        print(f"not converted: {name} ({count})", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] not in (["rest"], ["csv"], ["policy"]):
        sys.exit(__doc__)
    main(sys.argv[1:])
