"""Measures whether refused verifications can be distinguished by their cost. Run by `make bench-timing`.

Over a real server on loopback, refusals for every reason alternate, so that drift affects all equally. For
each reason the median is compared with that of all refusals. The documented threshold: no reason's median differs
by more than 10 %, and an unknown user (404, for a caller who may verify) costs at least half of it.

`wrong-ticket` is not among them: it must be counted durably, so it costs a commit more, and its answer shows that.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.support.server import Server, serving

ROUNDS = 400
THRESHOLD = 0.10
UNKNOWN_AT_LEAST = 0.5
WRONG = {"ticket": "a-wrong-ticket-of-24-chr"}
PAST = {"validity": {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}}
FUTURE = {"validity": {"from": "2999-01-01T00:00:00Z", "to": "2999-01-02T00:00:00Z"}}
REASONS = {
    "disabled": {"stateName": "disabled"},
    "archived": {"stateName": "archived"},
    "expired": PAST,
    "not-yet-valid": FUTURE,
    "locked": {},
    "no ticket": None,
    "unknown user": None,
}


def given(server: Server, algorithm: str) -> None:
    """Create a user for each reason, under a policy with this hash."""
    policy = {"parameters": {"hashAlgorithm": algorithm, "maxCredFailureCount": 1}, "defaultPolicy": True}
    server.client.put("/c/policies/default", json=policy).raise_for_status()
    for reason, body in REASONS.items():
        if reason == "unknown user":
            continue
        server.client.put(f"/c/users/{reason}", json={"email": "u@example.com"}).raise_for_status()
        if body is not None:
            server.client.post(f"/c/users/{reason}/ticket", json=body).raise_for_status()
    server.client.post("/c/users/locked/ticket/verify", json=WRONG).raise_for_status()


def measure(server: Server, rounds: int) -> dict[str, float]:
    """Return the median cost of each refusal, in milliseconds."""
    costs: dict[str, list[float]] = {reason: [] for reason in REASONS}
    for _ in track(range(rounds), "verifying", console=Console(stderr=True)):
        for reason, cost in costs.items():
            begin = time.perf_counter()
            server.client.post(f"/c/users/{reason}/ticket/verify", json=WRONG)
            cost.append(time.perf_counter() - begin)
    return {reason: statistics.median(cost) * 1000 for reason, cost in costs.items()}


def main(rounds: int) -> int:
    """Measure both hashes, print a table, and return 1 if a threshold is missed."""
    met = True
    table = Table("hash", "reason", "median ms", "of all refusals", title="The cost of a refusal")
    figures: dict[str, dict[str, float]] = {}
    for algorithm, share in (("SSHA256", 1), ("ARGON2ID", 4)):
        with tempfile.TemporaryDirectory() as directory:
            database = f"sqlite:///{directory}/tickets.db"
            with serving(Path(directory), database) as server:
                given(server, algorithm)
                figures[algorithm] = medians = measure(server, rounds // share)
        usual = statistics.median(
            cost for reason, cost in medians.items() if reason not in ("unknown user", "no ticket")
        )
        for reason, cost in medians.items():
            ratio = cost / usual
            missing = reason in ("unknown user", "no ticket")
            good = ratio >= UNKNOWN_AT_LEAST if missing else abs(ratio - 1) <= THRESHOLD
            met = met and good
            table.add_row(algorithm, reason, f"{cost:.2f}", f"{ratio:.2f}{'' if good else ' MISSED'}")
    Console().print(table)
    Path("var/bench").mkdir(parents=True, exist_ok=True)
    Path("var/bench/verify-timing.json").write_text(json.dumps(figures, indent=2))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(ROUNDS))
