"""Imported into a worker of deliveries, has it kill itself (SIGKILL) at a step that the environment names."""

import os
import signal
from collections.abc import Callable
from typing import Any

from aiosmtplib import SMTP

from application.transaction.ports import Changes
from interface.composition import service
from interface.outbound.sql import postgres_store, sqlite_store
from interface.outbound.sql.outbox_tables import SqlOutbox

LEASED = "it has leased a ticket"
CONNECTED = "it has connected to the mail server"
RECIPIENT_TAKEN = "the mail server has taken the recipient"
MAIL_TAKEN = "the mail server has taken the mail"
RECORDING = "it is in the transaction of the record"
RECORDED = "the record is stored"
DIES_WHEN = "TICKETS_TEST_DIES_WHEN"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after_taking() -> None:
    take = SqlOutbox.take

    def take_and_die(*arguments: Any) -> Any:
        if taken := take(*arguments):
            _die()
        return taken

    SqlOutbox.take = take_and_die  # type: ignore[assignment, method-assign]


def _after_saying(what: str) -> Callable[[], None]:
    def prepare() -> None:
        say = getattr(SMTP, what)

        async def say_and_die(*arguments: Any, **terms: Any) -> None:
            await say(*arguments, **terms)
            _die()

        setattr(SMTP, what, say_and_die)

    return prepare


def _while_recording() -> None:
    # The row of the outbox is gone, the event is inserted, and nothing is committed.
    change_one, change_all = sqlite_store._change_delivery, postgres_store._change_deliveries

    def change_one_and_die(*arguments: Any) -> None:
        change_one(*arguments)
        _die()

    def change_all_and_die(connection: Any, changes: Changes) -> None:
        change_all(connection, changes)
        if changes.deliveries:
            _die()

    sqlite_store._change_delivery = change_one_and_die  # type: ignore[assignment]
    postgres_store._change_deliveries = change_all_and_die


def _after_recording() -> None:
    open_store = service.open_store

    def open_crashing_store(*arguments: Any) -> Any:
        store = open_store(*arguments)
        commit = store.commit

        def commit_and_die(changes: Changes) -> None:
            commit(changes)
            if changes.deliveries:
                _die()

        store.commit = commit_and_die  # type: ignore[method-assign]
        return store

    service.open_store = open_crashing_store  # type: ignore[assignment]


_WAYS: dict[str, Callable[[], None]] = {
    LEASED: _after_taking,
    CONNECTED: _after_saying("connect"),
    RECIPIENT_TAKEN: _after_saying("rcpt"),
    MAIL_TAKEN: _after_saying("data"),
    RECORDING: _while_recording,
    RECORDED: _after_recording,
}

if step := os.environ.get(DIES_WHEN):
    _WAYS[step]()
