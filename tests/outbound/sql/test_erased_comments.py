"""After the erasure of a user, no table contains a comment on the user's events, and the record stays valid (both stores)."""

import asyncio

import pytest

from application.feed.feed import FeedQuery, read_feed
from application.feed.formats import CLOUD_EVENTS
from application.record.history import HistoryItem, history, log_items, reason_text
from application.tickets.create_ticket import CreateTicket
from application.tickets.erase_user import EraseUser
from application.tickets.regenerate_ticket import RegenerateTicket
from application.transaction.command import Command
from application.users.records import UserNotFound
from application.users.register_user import RegisterUser
from domain.tickets.states import State
from tests.outbound.sql import test_tampering
from tests.outbound.sql.test_every_column import columns_by_table
from tests.outbound.sql.test_tampering import CLIENT, Record, given_every_kind
from tests.support.fakes import SUBJECT
from tests.support.service import command
from tests.support.stores import state_of

record = test_tampering.record
OTHER = SUBJECT._replace(user_ext_id="user-1")


@pytest.fixture
def commented(record: Record) -> Record:
    """A record in which every kind of object has comments."""
    given_every_kind(record)
    service = record.service
    service.regenerate(reason="comment-1", retryable=True)
    service.modify(state=State.DISABLED, reason="comment-2", retryable=True)
    service.modify(state=State.ACTIVE, retryable=True)
    service.regenerate(subject=OTHER, reason="of another user", retryable=True)
    service.define("letters", reason="of a policy")
    return record


def together(record: Record, *commands: Command) -> None:
    """Execute the commands in one transaction."""

    async def execute() -> None:
        await asyncio.gather(*map(record.service.group_commit.execute, commands))

    asyncio.run(execute())


def tables_with(record: Record, text: str) -> list[str]:
    """Return the columns of every table that contain the text."""
    return [
        f"{table}.{column}"
        for table, columns in columns_by_table(record).items()
        for column in columns
        for (value,) in record.store._fetch(f"SELECT {column} FROM {table}", ())
        if text.encode() in (bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode())
    ]


def test_no_table_contains_a_comment_on_an_erased_user(commented: Record) -> None:
    before = tables_with(commented, "comment-")
    commented.service.execute(command(EraseUser))

    assert set(before) == {"details.reason", "answers.row", "tickets.row"}
    assert tables_with(commented, "comment-") == []
    assert commented.check().faults == []
    assert set(tables_with(commented, "of another user")) == {"details.reason", "answers.row", "tickets.row"}
    assert set(tables_with(commented, "of a policy")) == {"details.reason", "policies.row"}


def test_a_user_without_a_live_ticket_is_erased_completely(commented: Record) -> None:
    commented.service.delete()
    row = bytes(commented.one("SELECT row FROM tickets WHERE user_ext_id = ?", SUBJECT.user_ext_id)[0])
    of_former_release = row.replace(b'"modification_comment":null', b'"modification_comment":"comment-1"')
    commented.sql("UPDATE tickets SET row = ? WHERE user_ext_id = ?", of_former_release, SUBJECT.user_ext_id)
    faults = commented.check().faults
    commented.service.execute(command(EraseUser))

    assert row != of_former_release
    assert faults == []
    assert tables_with(commented, "comment-") == []


def test_a_comment_of_the_same_transaction_is_erased(commented: Record) -> None:
    together(commented, command(RegenerateTicket, reason="comment-3", retryable=True), command(EraseUser))

    assert tables_with(commented, "comment-") == []


def test_a_comment_after_the_erasure_in_the_same_transaction_is_kept(commented: Record) -> None:
    together(
        commented,
        command(EraseUser),
        command(RegisterUser, email="user@example.com"),
        command(CreateTicket, reason="comment-3", retryable=True),
    )

    assert set(tables_with(commented, "comment-")) == {"details.reason", "answers.row", "tickets.row"}
    assert tables_with(commented, "comment-1") == []


def test_history_feed_and_export_show_that_a_comment_was_erased(commented: Record) -> None:
    store = commented.store
    commented.service.execute(command(EraseUser))

    items: list[HistoryItem] = list(history(SUBJECT, ledger=store))
    exported = log_items(store.entries(CLIENT, 0, 100), ledger=store)
    feed = read_feed(FeedQuery(CLIENT), 100, ledger=store, origin="tickets")
    encoded = [CLOUD_EVENTS.encode_event(event, 0) for event in feed]

    erased = {item["position"] for item in items if item.get("reasonErased")}
    assert len(erased) == 2
    assert {item["position"] for item in exported if item.get("reasonErased")} == erased
    assert {event.position for event in feed if event.reason_erased} == erased
    assert {item["reason"] for item in items} == {None}
    assert {reason_text(item) for item in items} == {"", "erased"}
    assert sum(b'"reason":null,' in found and b'"reasonErased":true' in found for found in encoded) == 2


def test_a_retry_after_the_erasure_is_refused_and_not_executed(commented: Record) -> None:
    reset = command(RegenerateTicket, reason="comment-3", retryable=True)
    first = commented.service.execute(reset)
    commented.service.execute(command(EraseUser))
    commented.service.register()
    commented.service.create()

    with pytest.raises(UserNotFound, match="User 'user-123' was erased"):
        commented.service.execute(reset)

    assert "comment-3" in first.body
    assert state_of(commented.store, SUBJECT).reset_count == 0
