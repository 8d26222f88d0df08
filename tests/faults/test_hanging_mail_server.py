"""A mail server that never responds delays mails only."""

import time
from pathlib import Path
from statistics import median

import httpx

from tests.support.deliveries import CLIENT, minting, smtp, subjects
from tests.support.mail_server import HANGS, mail_server
from tests.support.server import serving, until

USERS = 50
RESETS = 100
# Generous, since other work can affect one measurement only; waiting for mails would take a hundred times as long.
AT_MOST = 2


def seconds_of_a_reset(client: httpx.Client, number: int) -> float:
    path = f"/{CLIENT}/users/user-{number % USERS}/ticket/reset"
    begin = time.perf_counter()
    client.post(path).raise_for_status()
    return time.perf_counter() - begin


def test_a_reset_takes_as_long_as_without_delivery(database_url: str, tmp_path: Path) -> None:
    with minting(tmp_path, database_url) as mint:
        mint.create(*subjects(USERS))
    with (
        mail_server(lambda _step, _to: HANGS) as mails,
        serving(tmp_path, database_url, **smtp(mails)) as hanging,
        serving(tmp_path, database_url, TICKETS_DELIVER="False", TICKETS_PUSH="False") as without,
    ):
        until(lambda: mails.connections >= 8, "every connection to the mail server hangs")
        # Alternately, so that other work affects both equally.
        times = [
            (seconds_of_a_reset(hanging.client, number), seconds_of_a_reset(without.client, number))
            for number in range(RESETS)
        ]

    beside, alone = (median(each) for each in zip(*times, strict=True))
    print(f"a reset: {beside * 1000:.1f} ms, without delivery {alone * 1000:.1f} ms")  # noqa: T201
    assert mails.taken == []
    assert beside < AT_MOST * alone
