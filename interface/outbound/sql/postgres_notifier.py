"""Wakes the readers of all processes after a commit, by NOTIFY on a connection that commits nothing else.

PostgreSQL lets one transaction with a NOTIFY commit at a time in the entire server, and lets none commit when its queue is
full, which one listener in an open transaction can cause. In the commit itself, both would delay or fail the answer.
"""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

# Processes of release 1.0 notify and listen on the same channel.
CHANNEL = "ticket_events"
# The first commit after a pause is notified immediately. A NOTIFY costs as much as a third of a lone reset.
_PAUSE_SECONDS = 0.02
_RETRY_SECONDS = 1
_CLOSE_SECONDS = 3
# A notification is not durable, so it waits for no flush and for no standby.
_PREPARE = "SET synchronous_commit = off"

log = logging.getLogger(__name__)


class Notifier:
    """Sends a NOTIFY for the newest commits, one at a time, from a thread.

    options: of the connection. A lost notification is not repeated, since readers also poll once a second.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Wake the readers soon. It neither waits nor raises."""
        if not self._due.is_set():
            self._due.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closing:
                    self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Send the notification that is due, and stop."""
        with self._lock:
            self._closing = True
        self._due.set()
        if self._thread:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        failed = False
        while self._due.wait():
            self._due.clear()
            closing = self._closing
            try:
                connection = connection or self._connect()
                _notify(connection)
                failed = False
            except psycopg.Error as error:
                if not failed:
                    log.warning("readers are not notified of commits, and poll once a second: %s", error)
                failed = True
                _close(connection)
                connection = None
            if closing:
                break
            time.sleep(_RETRY_SECONDS if failed else _PAUSE_SECONDS)
        _close(connection)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(**{**self._options, "autocommit": True})
        connection.execute(_PREPARE.encode())
        return connection


def _notify(connection: psycopg.Connection[Any]) -> None:
    # Below the cursor, which would cost a lone commit more processor time than the notification.
    result = connection.pgconn.exec_(f"NOTIFY {CHANNEL}".encode())
    if result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result, "utf-8")


def _close(connection: psycopg.Connection[Any] | None) -> None:
    if connection is not None:
        with suppress(psycopg.Error):
            connection.close()
