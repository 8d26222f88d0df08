"""Large answers to many readers at the same time need a bounded memory."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from application.tickets.modify_ticket import ModifyTicket
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.server import Server, serving
from tests.support.service import command, service_over
from tests.support.sockets import memory, processes

COMMENTS = 2000
READERS = 100
# The longest comment: 4 KiB in UTF-8.
COMMENT = "\N{GRINNING FACE}" * 1000
MOST_BYTES = 160 * 1024 * 1024
HISTORY = "/client-123/history?limit=1000"
TICKET = "/client-123/users/user-123/ticket"


def given_comments(database: Path) -> None:
    """Store long comments on one ticket."""
    store = SqliteStore(database, TABLES)
    with service_over(store) as service:
        service.register()
        service.create()
        for begin in range(0, COMMENTS, 500):
            submitted = [
                service.commands.submit(command(ModifyTicket, reason=f"{number} {COMMENT[:-6]}"))
                for number in range(begin, begin + 500)
            ]
            for future in submitted:
                future.result()
    store.close()


async def read(server: Server, paths: Sequence[str]) -> Counter[int]:
    """Get the paths concurrently, each on its own connection; return the statuses."""
    async with server.concurrent_client() as http:

        async def status(path: str) -> int:
            async with http.stream("GET", path) as response:
                async for _ in response.aiter_bytes():
                    pass
                return response.status_code

        return Counter(await asyncio.gather(*map(status, paths)))


def peak(server: Server) -> int:
    """Return the largest memory of the server's processes since `forget_peak`, in bytes."""
    return sum(
        int(line.split()[1]) * 1024
        for process in processes(server)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )


def forget_peak(server: Server) -> None:
    """Begin to measure the peak."""
    for process in processes(server):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize(
    "path",
    [
        f"{TICKET}/evidence",
        "/client-123/evidence",
        f"{TICKET}/history?limit=1000",
        HISTORY,
        "/client-123/events?limit=1000",
        "/client-123/events?limit=1000&wait=1",
    ],
)
def test_the_peak_of_concurrent_large_answers_is_bounded(tmp_path: Path, path: str) -> None:
    database = tmp_path / "var" / "tickets.db"
    with serving(tmp_path, f"sqlite:///{database}", TICKETS_DELIVER="False") as server:
        given_comments(database)
        assert asyncio.run(read(server, [HISTORY])) == {200: 1}
        idle = memory(server)
        forget_peak(server)

        statuses = asyncio.run(read(server, [path] * READERS))

        grown = peak(server) - idle
        print(f"{path}: {dict(statuses)}, {grown / 2**20:.0f} MiB above idle")  # noqa: T201
        assert set(statuses) <= {200, 429}
        assert statuses[200] >= 4
        assert grown < MOST_BYTES
