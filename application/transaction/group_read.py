"""Group reads: look-ups that arrive together are one question to the store."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

from application.transaction.ports import Known, Store
from domain.shared.subject import Subject


class GroupRead:
    """Looks up users and their credentials; a look-up never waits for company, only for the one before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Subject, asyncio.Future[Known]]] = []
        self._reader: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "group-read")

    async def look_up(self, subject: Subject) -> Known:
        """Return what the store knows of the subject, read after this call began. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Known] = loop.create_future()
        self._waiting.append((subject, future))
        if self._reader is None:
            # In no request's context, since it goes on for others.
            self._reader = loop.create_task(self._read(), context=Context())
        return await future

    async def _read(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            subjects = list({subject for subject, _ in waiting})
            known: Known | Exception
            try:
                known = await self._look_up(subjects)
            except Exception as error:  # noqa: BLE001 - whatever it is, each caller gets it
                known = error
            for _, future in waiting:
                if future.cancelled():
                    continue
                if isinstance(known, Exception):
                    future.set_exception(known)
                else:
                    future.set_result(known)
        self._reader = None

    async def _look_up(self, subjects: list[Subject]) -> Known:
        if self._store.reads_at_once:
            return self._store.look_up(subjects)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._store.look_up, subjects)
