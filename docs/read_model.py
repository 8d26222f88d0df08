"""Builds the tickets of a client from its feed alone, and prints them: read_model.py URL CLIENT."""

import json
import os
import sys
import urllib.request
from datetime import UTC, datetime

COUNTERS = ("failureCount", "successCount", "failedLoginCount", "successfulLoginCount", "resetCount")
EMPTY = ("stateChangeDetail", "lastSuccessfulLoginDate", "lastFailedLoginDate", "lockedUntil")
COPIED = (
    "extId",
    "policyExtId",
    "stateName",
    "stateChangeReason",
    "created",
    "lockedUntil",
    *COUNTERS,
    *EMPTY[1:3],
)
TYPES = {
    "TicketCreated",
    "TicketImported",
    "TicketRegenerated",
    "TicketStateChanged",
    "TicketPolicyAssigned",
    "TicketDeleted",
}
TYPES |= {"TicketValidityChanged", "TicketCommented", "TicketVerified", "WrongTicketPresented"}
TYPES |= {"TicketHashUpgraded", "TicketExpirySoon", "TicketExpired"}
KEEPS_COMMENT = {"TicketStateChanged", "TicketPolicyAssigned", "TicketValidityChanged"}
SETS_COMMENT = {"TicketCreated", "TicketImported", "TicketRegenerated", "TicketCommented"}


def apply(tickets: dict, event: dict) -> None:
    """Apply an event to the tickets by user; events of other objects and unknown types change nothing."""
    kind, data, time = event["type"], event["data"], event["time"][:19] + "Z"
    user, new, reason = data["userExtId"], data["changed"], data["reason"]
    if kind not in TYPES:
        return
    if kind == "TicketDeleted":
        del tickets[user]
        return
    if kind in ("TicketCreated", "TicketImported"):
        start = {"created": time, "userExtId": user, "type": "Ticket Authorization", "validity": {}}
        tickets[user] = start | dict.fromkeys(COUNTERS, 0) | dict.fromkeys(EMPTY)
    ticket = tickets[user]
    was_locked = ticket.get("stateName") == "tmp-locked"
    ticket |= {"version": data["version"], "lastModified": time}
    ticket |= {name: new[name] for name in COPIED if name in new}
    ticket["validity"] |= {name[9:]: new[name] for name in new if name.startswith("validity.")}
    if kind in SETS_COMMENT or (kind in KEEPS_COMMENT and (reason or "reasonErased" in data)):
        ticket["modificationComment"] = reason
    if kind == "TicketCreated":
        ticket["stateChangeReason"] = "initialized"
    elif kind == "TicketRegenerated":
        ticket |= {"stateChangeReason": "reset", "lockedUntil": None}
        ticket |= {"successfulLoginCount": 0, "failedLoginCount": 0}
    elif kind == "TicketStateChanged":
        ticket |= {"stateChangeReason": "changed-by-admin", "lockedUntil": None}
        ticket["failedLoginCount"] = new.get("failedLoginCount", 0)
    elif kind == "TicketVerified":
        ticket |= {"stateChangeReason": "unlock"} if was_locked else {}
        ticket |= {"lastSuccessfulLoginDate": time, "lockedUntil": None, "failedLoginCount": 0}
        ticket["successfulLoginCount"] += 1
        ticket["successCount"] += 1
    elif kind == "WrongTicketPresented":
        ticket |= {"stateChangeReason": "too-many-login-failures"} if new["stateName"] != "active" else {}
        ticket["lastFailedLoginDate"] = time
        ticket["failedLoginCount"] += 1
        ticket["failureCount"] += 1


def shown(ticket: dict, now: str) -> dict:
    """Return the ticket as GET returns it at a time such as 2026-11-23T09:42:00Z, without the hash."""
    lock_ended = ticket["stateName"] == "tmp-locked" and ticket["lockedUntil"] <= now
    ended = {"stateName": "active", "stateChangeReason": "unlock"} if lock_ended else {}
    return {name: value for name, value in (ticket | ended).items() if name != "lockedUntil"}


def read(url: str, client: str, after: str) -> list:
    feed = f"{url}/nevisidm/api/core/v1/{client}/events?after={after}&limit=1000"
    headers = {"Authorization": f"Bearer {os.environ['TICKETS_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(feed, headers=headers), timeout=60) as response:
        return json.load(response)


if __name__ == "__main__":
    known: dict = {}
    last = "0"
    while page := read(sys.argv[1], sys.argv[2], last):
        for event in page:
            if event["previous"] != last:
                sys.exit(f"an event is missing between {last} and {event['id']}")
            apply(known, event)
            last = event["id"]
    for ticket in known.values():
        print(json.dumps(shown(ticket, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))))
