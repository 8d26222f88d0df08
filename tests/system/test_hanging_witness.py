"""A hanging witness delays neither signing nor a stop, and no count is lost."""

import signal
import time
from contextlib import closing
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from domain.record.access_log import AccessNoted
from tests.support.evidence import open_store
from tests.support.receiver import HANGS, receiving
from tests.support.server import NO_DELIVERY, Server, serving, until

USER = "/client-123/users/user-0"
# Long, so that a stop on a busy machine takes less than half of it.
GRACE_SECONDS = 120
# The first ones of a minute are recorded immediately, the others at the end.
REFUSED = 50


def newest_signed(database_url: str) -> int:
    with closing(open_store(database_url)) as store:
        newest = store.newest_checkpoint("client-123")
        return newest.size if newest else 0


def recorded_refusals(database_url: str) -> int:
    """Return the number of recorded refusals."""
    with closing(open_store(database_url)) as store:
        entries = store.entries_of_topics("client-123", [AccessNoted.TOPIC], 0, 1000)
        events = [store.event(entry) for entry in entries]
    return sum(event.count for event in events if event.outcome != "read")  # type: ignore[attr-defined]


def unsent_seconds(server: Server) -> float:
    url = f"http://127.0.0.1:{server.port}/metrics"
    families = text_string_to_metric_families(httpx.get(url, trust_env=False).text)
    [value] = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tickets_checkpoint_unsent_seconds"
    ]
    return value


def test_a_server_keeps_signing_while_a_witness_hangs_and_stops_in_time_with_all_counts(
    database_url: str, tmp_path: Path
) -> None:
    with receiving(lambda _: HANGS) as witness:
        settings = {
            **NO_DELIVERY,
            "TICKETS_CHECKPOINT_WEBHOOK": witness.url("/checkpoints"),
            "TICKETS_CHECKPOINT_EVERY_EVENTS": "1",
            "TICKETS_GRACE_SECONDS": str(GRACE_SECONDS),
        }
        with serving(tmp_path, database_url, module="tests.support.eager_signing", **settings) as server:
            server.client.put(USER, json={"email": "u@example.com"}).raise_for_status()
            server.client.post(f"{USER}/ticket").raise_for_status()
            until(lambda: witness.received, "a checkpoint is on its way to the witness")
            before = newest_signed(database_url)
            server.client.post(f"{USER}/ticket/reset").raise_for_status()
            until(lambda: newest_signed(database_url) > before, "signing continues")
            for _ in range(REFUSED):
                assert server.client.post(f"{USER}/ticket").status_code == 422
            assert recorded_refusals(database_url) < REFUSED
            assert len(witness.received) == 1
            assert unsent_seconds(server) > 0

            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            status = server.process.wait(GRACE_SECONDS + 5)
            seconds = time.monotonic() - begin
            content = server.log.read_text()

    assert status == 0, content
    assert seconds < GRACE_SECONDS / 2
    assert recorded_refusals(database_url) == REFUSED
    assert "Traceback" not in content
    assert "cut off" not in content
