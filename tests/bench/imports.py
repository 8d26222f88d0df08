"""The import of credentials, twice: `python -m tests.bench.imports ROWS [DATABASE_URL]`.

Writes synthetic rows, imports their users and then the rows twice, verifies a ticket in a thousand, compares the sums of the counters,
and prints the rates. 3,000,000 rows need about 15 GB on the disk, and three quarters of an hour.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from application.tickets.export_tickets import export_tickets
from domain.tickets.ticket import ClearTicket, verify_ticket
from interface.composition.service import open_at
from interface.outbound.system import system_clock
from tests.bench.results import progress

CLIENT = "bank"
_CHECKED = 1_000


def ticket_of(number: int) -> str:
    """Return the ticket of a row, from which its salt follows."""
    return hashlib.sha256(b"%d" % number).hexdigest()[:24]


def row(number: int) -> str:
    """Return a row: of twenty, one is locked and one has expired."""
    ticket = ticket_of(number)
    salt = hashlib.sha256(ticket.encode()).digest()[: 4 + number % 29]
    digest = hashlib.sha256(ticket.encode() + salt).digest()
    values = {
        "extId": f"t-{number}",
        "userExtId": f"u-{number:07}",
        "stateName": "fail-locked" if number % 20 == 1 else "active",
        "ticket": "{SSHA256}" + base64.b64encode(digest + salt).decode(),
        "validity": {
            "from": "2020-01-01T00:00:00Z",
            "to": "2021-01-01T00:00:00Z" if number % 20 == 2 else "2090-01-01T00:00:00Z",
        },
        "failureCount": number % 7,
        "resetCount": number % 3,
        "version": number % 11,
    }
    return json.dumps(values) + "\n"


def write(path: Path, lines: Iterable[str]) -> None:
    """Write the lines of a file."""
    with path.open("w") as file:
        file.writelines(lines)


def run(directory: Path, url: str, rows: int, *arguments: str) -> None:
    """Run a command, and print its rate."""
    began, before = time.monotonic(), os.times()
    command = [sys.executable, "-m", "interface.main", *arguments]
    environment = os.environ | {"TICKETS_DATABASE_URL": url, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    progress.print(
        f"{' '.join(arguments[:2])}: {rows / seconds:,.0f}/s, {cpu / rows * 1e6:.0f} µs of CPU per row"
    )


def check(url: str, rows: int) -> None:
    """Compare the counters with those of the rows, and verify a ticket in a thousand. Raises AssertionError."""
    failures = resets = 0
    with closing(open_at(url)) as store:
        for number, found in enumerate(export_tickets(CLIENT, store=store, clock=system_clock)):
            failures, resets = failures + found["failureCount"], resets + found["resetCount"]
            if number % _CHECKED == 0:
                assert verify_ticket(ClearTicket(ticket_of(number)), found["ticket"]), number
    assert failures == sum(number % 7 for number in range(rows))
    assert resets == sum(number % 3 for number in range(rows))


def main(rows: int, url: str | None = None) -> None:
    """Run the import."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        url = url or f"sqlite:///{directory}/tickets.db"
        users = (f"u-{number:07},u-{number}@example.com\n" for number in range(rows))
        write(directory / "users.csv", ["userExtId,email\n", *users])
        write(directory / "rows.ndjson", map(row, range(rows)))
        run(directory, url, rows, "users", "import", "users.csv", "--client", CLIENT)
        for _ in range(2):
            run(
                directory,
                url,
                rows,
                "credentials",
                "import",
                "rows.ndjson",
                "--client",
                CLIENT,
                "--source",
                "bench",
            )
        check(url, rows)
        run(directory, url, 2 * rows, "replay", "--check")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
