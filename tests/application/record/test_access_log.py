"""Counted accesses survive a store that is unavailable."""

import asyncio
from dataclasses import replace

import pytest

from application.record.access_log import READ, AccessRecorder, NoteAccess
from application.shared.errors import StoreUnavailable
from application.transaction.command import Answer, Command
from domain.shared.subject import Subject
from tests.support.fakes import FakeClock
from tests.support.service import command

ACCESS: NoteAccess = command(NoteAccess, operation="getUser", outcome=READ)


def test_accesses_that_cannot_be_stored_stay_counted() -> None:
    noted: list[Command] = []
    failing = True

    async def execute(access: Command) -> Answer:
        if failing:
            raise StoreUnavailable("the store failed")
        noted.append(access)
        return Answer(outcome="noted", body="", correlation_id="", request_digest="")

    async def run() -> None:
        nonlocal failing
        recorder = AccessRecorder(execute, FakeClock())
        recorder.count(ACCESS)
        with pytest.raises(StoreUnavailable):
            await recorder.flush()
        recorder.count(replace(ACCESS, subject=Subject("client-123", "user-2")))
        failing = False
        await recorder.flush()
        await recorder.flush()

    asyncio.run(run())

    [access] = noted
    assert isinstance(access, NoteAccess)
    assert (access.users, access.count) == (("user-123", "user-2"), 2)
