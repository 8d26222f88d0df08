"""Prints the events of a client, resumes after a crash, and detects a gap: subscriber.py URL CLIENT CURSOR_FILE."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

url, client, cursor = sys.argv[1], sys.argv[2], Path(sys.argv[3])


def handle(event: dict) -> None:
    # Replace this by your own code. After a crash the last event may be repeated.
    print(json.dumps(event, ensure_ascii=False, separators=(",", ":")), flush=True)


def follow(last: str) -> None:
    headers = {"Authorization": f"Bearer {os.environ['TICKETS_TOKEN']}", "Last-Event-ID": last}
    stream = f"{url}/nevisidm/api/core/v1/{client}/events/stream"
    # The service sends at least a heartbeat every 15 seconds: a connection without data for longer is dead.
    with urllib.request.urlopen(urllib.request.Request(stream, headers=headers), timeout=60) as lines:
        for line in lines:
            if line.startswith(b"event: end"):
                return
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if event["previous"] != last:
                    sys.exit(f"an event is missing between {last} and {event['id']}")
                handle(event)
                last = event["id"]
                cursor.with_suffix(".new").write_text(last)
                cursor.with_suffix(".new").replace(cursor)


while True:
    try:
        follow(cursor.read_text() if cursor.exists() else "0")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            sys.exit(f"the ledger was restored to before this cursor: {json.load(error)['detail']}")
        print(f"reconnecting in a second: {error}", file=sys.stderr)
    except (OSError, http.client.HTTPException) as error:
        print(f"reconnecting in a second: {error}", file=sys.stderr)
    time.sleep(1)
