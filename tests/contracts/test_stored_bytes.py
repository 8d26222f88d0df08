"""The bytes of answers, events and rows never change: golden_bytes.jsonl has those of the life of a ticket.

Each line is a step with its answer, or a table and the columns of a row. A new column, or a new field with a default, changes it.
"""

import itertools
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from application.shared.wire import to_json
from application.tickets.response import to_response
from domain.policies.policy import TicketPolicy
from domain.tickets.states import State
from interface.composition.register import TABLES
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import SUBJECT, FakeRandomness
from tests.support.service import Service
from tests.support.stores import state_of

GOLDEN = Path(__file__).with_name("golden_bytes.jsonl")
STORED = ("ticket_events", "ledger", "tickets", "recipients", "policies", "outbox", "answers", "details")
TICKET = "2" * 24


class Zeros(FakeRandomness):
    """Draws only zeros, which mint `TICKET` in any way of drawing it."""

    def below(self, bound: int) -> int:  # noqa: ARG002 - named as in the port
        return 0

    def octets(self, count: int) -> bytes:
        return bytes(count)

    def uuid(self) -> UUID:
        return UUID(int=0)


def _printable(row: tuple[Any, ...]) -> list[Any]:
    return [value.decode("latin-1") if isinstance(value, bytes) else value for value in row]


def test_the_bytes_of_a_life_of_a_ticket_never_change(tmp_path: Path) -> None:
    path, ids, lines = tmp_path / "tickets.db", itertools.count(), []
    with closing(SqliteStore(path, TABLES)) as store:
        service = Service(store, randomness=Zeros(), max_daily_deliveries=20)

        def step(do: Callable[..., Any], *given: Any, **changes: Any) -> None:
            service.clock.advance(timedelta(hours=7, microseconds=120))
            answer = do(*given, command_id=f"command-{next(ids)}", **changes)
            lines.append([do.__name__, answer if isinstance(answer, dict) else answer.body])

        reusable = TicketPolicy(reusable=True, tmp_locking_duration=10**9)
        step(service.define, "default", policy=reusable, is_default=True)
        step(service.register, name="Una Üser", postal_address=("Weg 1",))
        step(service.create, retryable=True, ext_id="ext-1")
        step(service.verify, TICKET, retryable=True)
        step(service.verify, "wrong", reason="called", retryable=True)
        step(service.regenerate, retryable=True)
        step(service.verify, "wrong")
        step(service.verify, "wrong", retryable=True)
        step(service.verify, TICKET, retryable=True)
        lines.append(["get", to_json(to_response(state_of(store, SUBJECT), service.clock()))])
        service.clock.advance(timedelta(days=12))
        lines.append(["get after the lock", to_json(to_response(state_of(store, SUBJECT), service.clock()))])
        step(service.modify, state=State.DISABLED, reason="é\n\u4e16")
        step(service.modify, state=State.ACTIVE)
        step(service.regenerate, reason="a comment", retryable=True)
        service.commands.close()
    with closing(sqlite3.connect(path)) as connection:
        for table in STORED:
            rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
            lines += [[table, *_printable(row)] for row in rows]

    assert [json.dumps(line) for line in lines] == GOLDEN.read_text().splitlines()
