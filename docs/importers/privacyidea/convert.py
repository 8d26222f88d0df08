"""Writes rows of an import from privacyIDEA 3.x. Run by the Python of privacyIDEA, with its configuration file.

PRIVACYIDEA_CONFIGFILE=/etc/privacyidea/pi.cfg python convert.py credentials REALM > credentials.ndjson
PRIVACYIDEA_CONFIGFILE=/etc/privacyidea/pi.cfg python convert.py users REALM > users.csv

privacyIDEA encrypts the codes of these tokens, so their hashes are computed here; no code is written anywhere. mapping.md has
the mapping of each field. Standard error has a line for everything that is not converted.
"""

import base64
import csv
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from privacyidea.app import create_app
from privacyidea.lib.token import get_tokens
from privacyidea.lib.user import get_user_list

TYPES = ["registration", "pw"]
COLUMNS = ["userExtId", "email", "name"]


def rows(realm: str, dropped: Counter) -> Iterator[dict]:
    """Yield a row for the newest token of each user of a realm."""
    newest = {}
    for token in sorted(get_tokens(token_type_list=TYPES, realm=realm), key=lambda token: token.token.id):
        if not token.user or not token.user.login:
            dropped["tokens without a user"] += 1
        elif not token.token.check_pin(""):
            dropped["tokens with a PIN"] += 1
        else:
            dropped["tokens of a user with a newer one"] += token.user.login in newest
            newest[token.user.login] = token
    for user, token in newest.items():
        yield row_of(user, token)


def row_of(user: str, token: object) -> dict:
    """Return the row of a token."""
    info, stored = token.get_tokeninfo(), token.token
    row = {
        "extId": stored.serial,
        "userExtId": user,
        "stateName": state_of(stored),
        "ticket": hashed(stored.get_otpkey().getKey(), bytes.fromhex(stored.key_iv)),
        "failedLoginCount": stored.failcount,
        "successCount": int(info.get("count_auth_success", 0)),
        "created": utc(info.get("creation_date")),
        "lastSuccessfulLoginDate": utc(info.get("last_auth")),
        "validity": {
            "from": utc(info.get("validity_period_start")),
            "to": utc(info.get("validity_period_end")),
        },
    }
    row["successfulLoginCount"] = row["successCount"]
    row["failureCount"] = max(int(info.get("count_auth", 0)) - row["successCount"], stored.failcount)
    return row


def state_of(stored: object) -> str:
    """Return the state of a token of the database."""
    if stored.revoked or stored.locked:
        return "archived"
    if not stored.active:
        return "disabled"
    return "fail-locked" if stored.failcount >= stored.maxfail else "active"


def hashed(code: bytes, salt: bytes) -> str:
    """Return the hash of a code. salt: the random one with which privacyIDEA encrypted it, so a second run writes the same row."""
    return "{SSHA256}" + base64.b64encode(hashlib.sha256(code + salt).digest() + salt).decode()


def utc(text: str | None) -> str | None:
    """Return a time of privacyIDEA in UTC; one without an offset is taken as UTC."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def users(realm: str) -> Iterator[dict]:
    """Yield the columns of each user of a realm."""
    for user in get_user_list({"realm": realm}):
        name = " ".join(filter(None, [user.get("givenname"), user.get("surname")]))
        yield {"userExtId": user["username"], "email": user.get("email", ""), "name": name}


def main(what: str, realm: str) -> None:
    dropped: Counter = Counter()
    app = create_app(config_name="production", config_file=os.environ["PRIVACYIDEA_CONFIGFILE"], silent=True)
    with app.app_context():
        if what == "users":
            writer = csv.DictWriter(sys.stdout, COLUMNS)
            writer.writeheader()
            writer.writerows(users(realm))
        else:
            for row in rows(realm, dropped):
                print(json.dumps(row))
    for name, count in dropped.items():
        if count:
            print(f"not converted: {name} ({count})", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] not in (["credentials"], ["users"]) or len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
