"""Group reads: concurrent look-ups are combined into one query."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

from application.transaction.records import Load, LoadedState
from application.transaction.store import Store, StoreOnLoop

_Waiting = tuple[Sequence[Load], asyncio.Future[LoadedState]]


class GroupRead:
    """Combines the look-ups that arrive while the former query is running."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._on_loop = store if isinstance(store, StoreOnLoop) else None
        self._waiting: list[_Waiting] = []
        self._reader: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "group-read")

    async def load(self, loads: Sequence[Load]) -> LoadedState:
        """Return the rows, read after this call started. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[LoadedState] = loop.create_future()
        self._waiting.append((loads, future))
        if self._store.lookup_is_nonblocking:
            if len(self._waiting) == 1:
                # After the callbacks that are due, which may look up more rows.
                loop.call_soon(self._read_here, context=Context())
        elif self._reader is None:
            # In an empty context, since the task serves other requests, too.
            self._reader = loop.create_task(self._read(), context=Context())
        return await future

    def _read_here(self) -> None:
        waiting, loads = self._take()
        found: LoadedState | Exception
        try:
            found = self._store.load(loads)
        except Exception as error:  # noqa: BLE001 - raised to each caller
            found = error
        _answer(waiting, found)

    async def _read(self) -> None:
        while self._waiting:
            waiting, loads = self._take()
            found: LoadedState | Exception
            try:
                found = await self._load(loads)
            except Exception as error:  # noqa: BLE001 - raised to each caller
                found = error
            _answer(waiting, found)
        self._reader = None

    async def _load(self, loads: Sequence[Load]) -> LoadedState:
        if self._on_loop:
            return await self._on_loop.load_on_loop(loads)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._store.load, loads)

    def _take(self) -> tuple[list[_Waiting], list[Load]]:
        waiting, self._waiting = self._waiting, []
        return waiting, list({load for loads, _ in waiting for load in loads})


def _answer(waiting: Sequence[_Waiting], found: LoadedState | Exception) -> None:
    for _, future in waiting:
        if future.cancelled():
            continue
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)
