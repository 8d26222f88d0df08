"""Group commit: commands that arrive together are decided together and stored in one transaction.

One writer thread per process takes what waits, runs each command on its aggregate, commits once, and answers
each caller. It never waits for company: a single command is a batch of one (design, decision 6).
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from application.command import Answer, Command
from application.errors import Conflict, IdempotencyKeyReused, Overloaded, StoreUnavailable, Unavailable
from application.ports import Changes, Known, Store
from application.unit_of_work import UnitOfWork, merge
from domain.errors import Refusal

Handler = Callable[[Any, UnitOfWork], Answer]

# Each conflict means that some other process got its commit through, so the whole always moves on;
# the bound only keeps one unlucky caller from waiting without end.
MAX_ATTEMPTS = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    command: Command
    future: Future[Answer] = field(default_factory=Future)


class GroupCommit:
    """Runs commands; see the module.

    handlers: which handler runs which type of command.
    after_commit: told that something was stored; must return at once.
    max_waiting: commands that may wait before `submit` raises Overloaded.
    max_batch: commands that one transaction takes at most.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[type[Command], Handler],
        *,
        after_commit: Callable[[], None] = lambda: None,
        max_waiting: int = 2048,
        max_batch: int = 128,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._after_commit = after_commit
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._arrival = threading.Condition()
        self._closing = False
        self._writer = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._writer.start()

    def submit(self, command: Command) -> Future[Answer]:
        """Queue the command; the future gives its answer (a refusal, too) or raises Unavailable.

        A future that is cancelled before the writer takes its command leaves nothing behind; one that is
        cancelled later changes nothing: the command commits or not, never half. Raises Overloaded.
        """
        waiting = _Waiting(command)
        with self._arrival:
            if self._closing or len(self._waiting) >= self._max_waiting:
                raise Overloaded("Too many requests wait to be stored.")
            self._waiting.append(waiting)
            self._arrival.notify()
        return waiting.future

    def execute(self, command: Command) -> Answer:
        """Run one command and wait for its answer. Raises its Refusal, or Unavailable."""
        return self.submit(command).result().unwrap()

    def close(self) -> None:
        """Take no more commands, store and answer those that wait, and stop."""
        with self._arrival:
            self._closing = True
            self._arrival.notify()
        self._writer.join()

    def _write(self) -> None:
        while batch := self._take():
            self._store_and_answer(batch)

    def _take(self) -> list[_Waiting]:
        with self._arrival:
            while not self._waiting and not self._closing:
                self._arrival.wait()
            taken = list(islice(self._waiting, self._max_batch))
            for _ in taken:
                self._waiting.popleft()
        live = [waiting for waiting in taken if waiting.future.set_running_or_notify_cancel()]
        return live or (self._take() if taken else [])

    def _store_and_answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            answers = self._store_together(batch)
        except Unavailable as unavailable:
            answers = [unavailable] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                # Whatever it was, it shall harm only the command that caused it.
                for waiting in batch:
                    self._store_and_answer([waiting])
                return
            log.exception("a command could not be stored")
            answers = [error]
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, BaseException):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)

    def _store_together(self, batch: Sequence[_Waiting]) -> Sequence[Answer | Exception]:
        commands = [waiting.command for waiting in batch]
        for _ in range(MAX_ATTEMPTS):
            known = self._store.look_up(
                list({command.subject for command in commands}),
                [command.key for command in commands if command.retryable],
            )
            total = Changes()
            answers = [self._decide(command, known, total) for command in commands]
            if not total:
                return answers
            try:
                self._store.commit(total)
            except Conflict:
                continue
            self._after_commit()
            return answers
        raise StoreUnavailable("Too many others change the same ticket.")

    def _decide(self, command: Command, known: Known, total: Changes) -> Answer | Exception:
        try:
            answer, changes = self._run(command, known)
        except Exception as error:  # noqa: BLE001 - it is the caller's answer, and its neighbours go on
            return error
        merge(known, total, changes)
        return answer

    def _run(self, command: Command, known: Known) -> tuple[Answer, Changes]:
        if command.retryable and command.key in known.answers:
            return _again(known.answers[command.key], command), Changes()
        unit = UnitOfWork(known)
        try:
            answer, changes = self._handlers[type(command)](command, unit), unit.changes
        except Refusal as refusal:
            answer, changes = command.refused(refusal), Changes()
        if command.retryable:
            changes.answers[command.key] = answer
        return answer, changes


def _again(given: Answer, command: Command) -> Answer:
    if given.request_digest != command.request_digest:
        return command.refused(
            IdempotencyKeyReused("This Idempotency-Key came before, with another request.")
        )
    return given
