"""Imported by a delivery worker, it makes the worker kill itself (SIGKILL) at the step in the environment."""

import os
import signal
from collections.abc import Callable
from typing import Any

from aiosmtplib import SMTP

from application.delivery.outbox import DELIVERIES
from interface.composition import service
from interface.outbound.sql import sqlite_store
from interface.outbound.sql.outbox_tables import DELIVERY_TABLE, SqlOutbox
from interface.outbound.sql.postgres_session import Session
from tests.support.commits import around_commits

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


def _after_sending(what: str) -> Callable[[], None]:
    def prepare() -> None:
        send = getattr(SMTP, what)

        async def send_and_die(*arguments: Any, **terms: Any) -> None:
            await send(*arguments, **terms)
            _die()

        setattr(SMTP, what, send_and_die)

    return prepare


def _while_recording() -> None:
    # The event and the removal of the outbox row are written but not committed.
    store, run_on_loop = sqlite_store._store, Session.run_on_loop

    def store_and_die(connection: Any, storing: Any, rows: Any) -> None:
        store(connection, storing, rows)
        if storing in (DELIVERY_TABLE.store, DELIVERY_TABLE.remove):
            _die()

    async def die_before_the_commit(session: Session, steps: Any) -> Any:
        text = " ".join(statement.text for statement, _ in steps)
        if "DELETE FROM outbox" in text or "standing = 'failed'" in text:
            session._open(steps).execute("BEGIN")
            session.run(steps)
            _die()
        return await run_on_loop(session, steps)

    sqlite_store._store = store_and_die
    Session.run_on_loop = die_before_the_commit  # type: ignore[method-assign, assignment]


def _after_recording() -> None:
    open_store = service.open_store

    def open_crashing_store(*arguments: Any) -> Any:
        store = open_store(*arguments)
        around_commits(store, after=lambda changes: _die() if DELIVERIES in changes.rows else None)
        return store

    service.open_store = open_crashing_store  # type: ignore[assignment]


_WAYS: dict[str, Callable[[], None]] = {
    LEASED: _after_taking,
    CONNECTED: _after_sending("connect"),
    RECIPIENT_TAKEN: _after_sending("rcpt"),
    MAIL_TAKEN: _after_sending("data"),
    RECORDING: _while_recording,
    RECORDED: _after_recording,
}

if step := os.environ.get(DIES_WHEN):
    _WAYS[step]()
