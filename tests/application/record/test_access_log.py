"""Counted accesses survive a store that is unavailable."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from application.record.access_log import READ, AccessRecorder, NoteAccess
from application.record.history import log_items
from application.shared.errors import StoreUnavailable
from application.transaction.command import Answer, Command
from domain.shared.subject import Subject
from tests.support.fakes import FakeClock
from tests.support.service import Service, command

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


def summary_of(accesses: Sequence[NoteAccess]) -> NoteAccess:
    """Return the entry for accesses that are counted together."""
    noted: list[Command] = []

    async def execute(access: Command) -> Answer:
        noted.append(access)
        return Answer(outcome="noted", body="", correlation_id="", request_digest="")

    async def run() -> None:
        recorder = AccessRecorder(execute, FakeClock())
        for access in accesses:
            recorder.count(access)
        await recorder.flush()

    asyncio.run(run())
    [access] = noted
    assert isinstance(access, NoteAccess)
    return access


def search(user: str, values: str) -> NoteAccess:
    """Return a search of a user, or of no user, by these values."""
    return replace(ACCESS, subject=Subject("client-123", user), filters=("actor",), reason=values)


@pytest.mark.parametrize("others", [["user-2"], [""], ["", "user-2"]])
def test_an_entry_of_several_users_has_no_values_which_no_erasure_would_delete(others: list[str]) -> None:
    entry = summary_of([search("user-1", "actor=anna"), *(search(user, "actor=bruno") for user in others)])

    assert (entry.subject.user_ext_id, entry.filters, entry.reason) == ("", ("actor",), None)


@pytest.mark.parametrize("user", ["user-1", ""])
def test_an_entry_of_one_user_or_of_none_has_the_values_of_its_searches(user: str) -> None:
    entry = summary_of([search(user, "actor=bruno"), search(user, "actor=anna")])

    assert (entry.subject.user_ext_id, entry.reason) == (user, "actor=anna\nactor=bruno")


def test_the_values_of_a_search_for_a_user_above_the_limit_are_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("application.record.access_log.MAX_USERS_OF_A_CALLER", 0)

    assert summary_of([search("user-1", "userExtId=user-1")]).reason is None


def test_an_access_as_release_1_0_stored_it_is_exported(service: Service) -> None:
    service.register()
    service.execute(ACCESS)
    entry = service.store.entries("client-123", 0, 10)[-1]
    # Release 1.0.0 has neither field.
    assert not {"filters", "users"} & json.loads(entry.state).keys()

    [item] = log_items([entry], ledger=service.store)

    assert item["details"] == {"operation": "getUser", "outcome": READ, "count": 1}
