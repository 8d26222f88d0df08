"""Group commit: concurrent commands are decided together and stored in one transaction.

The single writer of a process takes the queued commands, runs their handlers, commits once, and answers each caller. It
never delays a command to fill a batch.

The writer runs on the callers' event loop; only calls that block on the store run in a thread. A writer thread would compete
with the loop for the interpreter lock, which costs more than the decisions themselves (ADR 6). A small batch needs neither
a task nor the thread while commits are fast and no other process writes.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from application.shared.errors import Conflict, Overloaded, StoreUnavailable, Unavailable
from application.shared.ports import Randomness
from application.transaction.command import ANSWERS, Answer, Command, IdempotencyKeyReused
from application.transaction.commit_pace import CommitPace
from application.transaction.details import set_apart
from application.transaction.known_rows import KnownLoad, KnownRows, state_of
from application.transaction.records import Changes, Load, LoadedState
from application.transaction.store import Store, StoreOnLoop
from application.transaction.unit_of_work import UnitOfWork
from domain.shared.errors import Kind, Refusal

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
Handler = Callable[[Any, UnitOfWork], Answer]

# A conflict means that another process committed, so the system makes progress; the limit bounds the delay of one batch.
MAX_ATTEMPTS = 50
# The thread stores larger batches, so that the loop answers other requests meanwhile.
_MOST_ON_LOOP = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _QueuedCommand:
    command: Command
    future: "asyncio.Future[Answer]"


class _Decided(NamedTuple):
    """The decisions on a batch.

    retried: the indexes of the commands that were retries. has_events: every command succeeded with an event.
    """

    answers: Sequence[Answer | Exception]
    changes: Changes
    retried: set[int]
    has_events: bool = False


class Batch(NamedTuple):
    """Commands that were stored together, without retries. answers: in the same order. seconds: the duration."""

    commands: Sequence[Command]
    answers: Sequence[Answer | Exception]
    seconds: float


class GroupCommit:
    """Runs commands; see the module.

    handlers: the handler of each type of command. randomness: of the salts of reasons. after_commit, observe: listeners
    that receive the stored changes and each batch; they must not block. Listener exceptions are logged and do not
    affect the response. max_waiting: the queue length at which `execute` raises Overloaded. max_batch: the maximum
    commands per transaction.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[type[Command], Handler],
        randomness: Randomness,
        *,
        after_commit: Callable[[Changes], None] = lambda _: None,
        max_waiting: int = 2048,
        max_batch: int = 128,
    ) -> None:
        self._store = store
        self._on_loop = store if isinstance(store, StoreOnLoop) else None
        self._known = KnownRows(self._on_loop.checkable if self._on_loop else {})
        self._handlers = handlers
        self._randomness = randomness
        self._after_commit = after_commit
        self.observe: Callable[[Batch], None] = lambda _: None
        self._began: float | None = None
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        # One batch at most: nothing would store the rest of the queue.
        self._most_on_loop = min(_MOST_ON_LOOP, max_batch)
        self._queue: deque[_QueuedCommand] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._is_scheduled = False
        self._pace = CommitPace()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "store")

    async def execute(self, command: Command) -> Answer:
        """Run the command and return its answer, which may be a refusal; see Answer.unwrap.

        Must be called from the same event loop each time. Cancellation drops a queued command; it does not affect a
        command that the writer has taken. Raises Unavailable (including Overloaded), SlowWork.
        """
        return await self.queue(command)

    def queue(self, command: Command) -> "asyncio.Future[Answer]":
        """Queue the command; the future has the result of `execute`. Raises Overloaded."""
        if self._closing or len(self._queue) >= self._max_waiting:
            raise Overloaded("Too many requests are queued. Retry later.")
        loop = asyncio.get_running_loop()
        queued = _QueuedCommand(command, loop.create_future())
        self._queue.append(queued)
        if self._writer is None and not self._is_scheduled:
            # After the callbacks that are due, which may queue more commands. In an empty context, since it serves other
            # requests, too.
            loop.call_soon(self._begin, context=Context())
            self._is_scheduled = True
        return queued.future

    @property
    def queued(self) -> int:
        """The number of queued commands."""
        return len(self._queue)

    def busy_seconds(self) -> float:
        """Return the age of the current batch in seconds; 0: idle. Thread-safe."""
        began = self._began
        return 0 if began is None else time.monotonic() - began

    async def close(self) -> None:
        """Reject new commands, process the queued ones, and stop."""
        self._closing = True
        if self._is_scheduled:
            await asyncio.sleep(0)
        if self._writer is not None:
            await self._writer
        self._thread.shutdown()

    def _begin(self) -> None:
        self._is_scheduled = False
        batch: Sequence[_QueuedCommand] = ()
        are_few = len(self._queue) <= self._most_on_loop
        if are_few and self._store.lookup_is_nonblocking and self._pace.is_fast:
            batch = self._take()
            if self._store_on_loop(batch):
                return
        self._writer = asyncio.get_running_loop().create_task(self._write(batch))

    async def _write(self, batch: Sequence[_QueuedCommand]) -> None:
        try:
            if batch:
                await self._store_and_answer(batch)
            while self._queue:
                await self._store_and_answer(self._take())
        finally:
            # The next command starts a new writer.
            self._writer = None

    def _take(self) -> list[_QueuedCommand]:
        count = min(len(self._queue), self._max_batch)
        taken = [self._queue.popleft() for _ in range(count)]
        return [queued for queued in taken if not queued.future.cancelled()]

    def _store_on_loop(self, batch: Sequence[_QueuedCommand]) -> bool:
        """Return whether the commands were answered; otherwise nothing was stored, and the thread stores them."""
        commands = [queued.command for queued in batch]
        self._began = began = time.monotonic()
        try:
            decided = self._decide(commands, self._store.load(_loads(commands)))
            if decided.changes:
                committing = time.monotonic()
                if not self._store.commit_if_free(decided.changes):
                    return False
                self._pace.observe(time.monotonic() - committing)
                _notify(self._after_commit, decided.changes)
        except Conflict:
            return False
        except Exception as error:  # noqa: BLE001 - raised to the callers
            if len(batch) > 1 and not isinstance(error, Unavailable):
                return False
            decided = _failed(error, len(batch))
        finally:
            self._began = None
        self._answer(batch, decided, began)
        return True

    async def _store_and_answer(self, batch: Sequence[_QueuedCommand]) -> None:
        commands = [queued.command for queued in batch]
        self._began = began = time.monotonic()
        try:
            decided = await self._store_together(commands)
        except Exception as error:  # noqa: BLE001 - raised to the callers
            if len(batch) > 1 and not isinstance(error, Unavailable):
                # Isolate the command that caused the failure.
                for queued in batch:
                    await self._store_and_answer([queued])
                return
            decided = _failed(error, len(batch))
        finally:
            self._began = None
        self._answer(batch, decided, began)

    def _answer(self, batch: Sequence[_QueuedCommand], decided: _Decided, began: float) -> None:
        for queued, answer in zip(batch, decided.answers, strict=True):
            if queued.future.cancelled():
                continue
            if isinstance(answer, Exception):
                queued.future.set_exception(answer)
            else:
                queued.future.set_result(answer)
        new = [number for number in range(len(batch)) if number not in decided.retried]
        if new:
            seconds = time.monotonic() - began
            batch_seen = Batch(
                [batch[number].command for number in new],
                [decided.answers[number] for number in new],
                seconds,
            )
            _notify(self.observe, batch_seen)

    async def _store_together(self, commands: Sequence[Command]) -> _Decided:
        if not commands:
            return _Decided([], Changes(), set())
        loads = _loads(commands)
        known = self._known.find(loads)
        for _ in range(MAX_ATTEMPTS):
            loaded = await self._load(loads) if known is None else state_of(known)
            decided = self._decide(commands, loaded)
            if known is not None and not decided.has_events:
                # The commit would not check the rows of a command without an event.
                known = None
                continue
            if not decided.changes:
                return decided
            try:
                await self._commit(decided.changes, len(commands), known or ())
            except Conflict:
                known = None
                continue
            finally:
                self._known.forget(loads)
            self._known.keep(loads, loaded, known)
            _notify(self._after_commit, decided.changes)
            return decided
        raise StoreUnavailable("Too many concurrent updates")

    async def _load(self, loads: Sequence[Load]) -> LoadedState:
        if self._on_loop:
            return await self._on_loop.load_on_loop(loads)
        if self._store.lookup_is_nonblocking:
            return self._store.load(loads)
        return await self._in_thread(self._store.load, loads)

    async def _commit(self, changes: Changes, count: int, known: Sequence[KnownLoad]) -> None:
        if self._on_loop:
            await self._on_loop.commit_on_loop(changes, known)
            return
        if count > _MOST_ON_LOOP or not self._store.lookup_is_nonblocking:
            await self._in_thread(self._store.commit, changes)
        elif seconds := await self._in_thread(self._small_commit, changes):
            self._pace.observe(seconds)

    def _small_commit(self, changes: Changes) -> float:
        """Return the duration of a commit that could have run on the loop; 0: it waited for a writer or a checkpoint."""
        began = time.monotonic()
        if self._store.commit_if_free(changes):
            return time.monotonic() - began
        self._store.commit(changes)
        return 0

    async def _in_thread(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _decide(self, commands: Sequence[Command], loaded: LoadedState) -> _Decided:
        total, retried, has_events = Changes(), set[int](), True
        answers: list[Answer | Exception] = []
        for number, command in enumerate(commands):
            if command.retryable and loaded.get(ANSWERS, command.key) is not None:
                retried.add(number)
            try:
                answer, changes = self._run(command, loaded)
            except Exception as error:  # noqa: BLE001 - raised to this caller only
                answers.append(error)
                has_events = False
            else:
                total.add(changes, loaded)
                answers.append(answer)
                has_events = has_events and not answer.refusal and bool(changes.events)
        return _Decided(answers, total, retried, has_events)

    def _run(self, command: Command, loaded: LoadedState) -> tuple[Answer, Changes]:
        if command.retryable and (stored := loaded.get(ANSWERS, command.key)):
            return _replay(stored, command), Changes()
        unit = UnitOfWork(loaded)
        try:
            answer, changes = self._handlers[type(command)](command, unit), unit.changes
        except Refusal as refusal:
            answer, changes = command.refused(refusal), Changes()
            if refusal.KIND is Kind.LIMIT:
                return answer, changes  # not stored: a retry with the same key succeeds later
        if command.reason:
            set_apart(changes, self._randomness)
        if command.retryable:
            changes.put(ANSWERS, command.key, None, answer)
        return answer, changes


def _failed(error: Exception, count: int) -> _Decided:
    if not isinstance(error, Unavailable):
        log.error("a command could not be stored", exc_info=error)
    return _Decided([error] * count, Changes(), set())


def _loads(commands: Sequence[Command]) -> Sequence[Load]:
    wanted = {load for command in commands for load in command.loads()}
    return [*wanted, *(Load(ANSWERS, command.key) for command in commands if command.retryable)]


def _notify(listener: Callable[[Any], None], argument: Any) -> None:
    try:
        listener(argument)
    except Exception:
        log.exception("post-commit listener failed")


def _replay(stored: Answer, command: Command) -> Answer:
    if stored.request_digest not in (command.request_digest, *command.former_digests):
        return command.refused(
            IdempotencyKeyReused("This Idempotency-Key was used for another request. Use a new key.")
        )
    return stored


class Background:
    """Runs a GroupCommit on an event loop in a separate thread, for callers without an event loop."""

    def __init__(self, commands: GroupCommit) -> None:
        self._commands = commands
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, command: Command) -> "Future[Answer]":
        """Queue the command; the future returns or raises the result of `GroupCommit.execute`. Raises Overloaded."""
        if self._loop.is_closed():
            raise Overloaded("The service is stopping.")
        return asyncio.run_coroutine_threadsafe(self._commands.execute(command), self._loop)

    def submit_all(self, commands: Sequence[Command]) -> "Future[list[Answer | BaseException]]":
        """Queue many commands by one call to the loop; the future returns their answers and exceptions in the same order."""

        async def answers() -> list[Answer | BaseException]:
            queued = map(self._commands.queue, commands)  # without a task for each
            return await asyncio.gather(*queued, return_exceptions=True)

        return asyncio.run_coroutine_threadsafe(answers(), self._loop)

    def execute(self, command: Command) -> Answer:
        """Run one command and wait for its answer. Raises its Refusal, Unavailable, or SlowWork."""
        return self.submit(command).result().unwrap()

    def begin(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Run other work on the event loop of the commands."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Process the queued commands, and stop."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._commands.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
