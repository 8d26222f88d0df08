"""kill -9 of every server process during a bulk job: each user is reset once, and the counts add up (both stores)."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from domain.bulk.bulk_job import JobKey, JobState
from domain.policies.policy import SendingMethod, TicketPolicy
from domain.shared.subject import Subject
from domain.tickets.events import TicketRegenerated
from tests.support.bulk import CLIENT, given_users
from tests.support.evidence import open_store
from tests.support.lanes import forms
from tests.support.server import Server, given_outbox_key, until
from tests.support.service import AnyStore, service_over
from tests.support.stores import history_of

PROCESSES = 4


class Size(NamedTuple):
    """The users of a job, its pace, and the number of kills."""

    users: int
    pace: int
    kills: int


def started(directory: Path, database_url: str) -> list[Server]:
    """Start the processes at the same time."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        return list(pool.map(lambda _: Server(directory, database_url), range(PROCESSES)))


def killed(servers: list[Server]) -> None:
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(Server.kill, servers))


def job_in(store: AnyStore, key: JobKey) -> JobState:
    job = store.bulk_job(key)
    assert job
    return job


@pytest.mark.parametrize("size", forms(short=Size(400, 200, 1), full=Size(2000, 200, 10)))
def test_each_user_is_reset_once_though_every_process_is_killed(
    database_url: str, tmp_path: Path, size: Size
) -> None:
    given_outbox_key(tmp_path)
    with closing(open_store(database_url)) as store:
        with service_over(store) as service:
            service.define("quiet", policy=TicketPolicy(sending_method=(SendingMethod.NONE,)))
            users = given_users(service, size.users, policy_ext_id="quiet")
            service.delete(subject=Subject(CLIENT, "user-7"))
        servers = started(tmp_path, database_url)
        try:
            url = f"/{CLIENT}/bulk/resets"
            response = servers[0].client.post(url, json={"userExtIds": users, "pace": size.pace})
            key = JobKey(CLIENT, response.json()["job"])
            for kill in range(1, size.kills + 1):
                reached = size.users * kill // (size.kills + 1)
                until(lambda: sum(store.bulk_outcomes(key).values()) >= reached, f"{reached} items")  # noqa: B023
                killed(servers)
                assert sum(store.bulk_outcomes(key).values()) < size.users
                servers = started(tmp_path, database_url)
            until(lambda: job_in(store, key).has_ended, "the job is finished")
            shown = servers[-1].client.get(f"{url}/{key.job}").json()
        finally:
            killed(servers)
        assert (shown["status"], shown["reset"], shown["refused"]) == ("finished", size.users - 1, 1)
        assert job_in(store, key).outcomes == {"reset": size.users - 1, "TicketUnknown": 1}
        for user in users:
            events = history_of(store, Subject(CLIENT, user))
            resets = [event for event in events if isinstance(event, TicketRegenerated)]
            assert [event.job for event in resets] == ([] if user == "user-7" else [key.job])
        assert store.orphaned_rows() == []
