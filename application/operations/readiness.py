"""Whether this process can serve: asked often, so looked at seldom."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass

_CACHE_SECONDS = 1
_PATIENCE_SECONDS = 3

log = logging.getLogger(__name__)


class NotReady(Exception):
    """Why it cannot; what it says is shown to whoever asks, so it names no host and no path."""


@dataclass(frozen=True)
class Readiness:
    """What was found. checks: `ok`, or what is wrong, of each."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Tell whether all is well."""
        return all(found == "ok" for found in self.checks.values())


class Probe:
    """Runs the checks, at most once a second however many ask, and waits for each three seconds at most.

    checks: each raises NotReady where it does not hold; run in a thread, since it may wait for the store, and in one of
    its own, since what else hangs in threads (a full disk of letters, say) makes no process unready. One that hangs is not
    run again beside itself.
    """

    def __init__(self, checks: Mapping[str, Callable[[], None]]) -> None:
        self._checks = checks
        self._threads = ThreadPoolExecutor(max(1, len(checks)), "readiness")
        self._running: dict[str, asyncio.Task[str]] = {}
        self._stopping = False
        self._found: asyncio.Task[Readiness] | None = None
        self._found_at = 0.0

    def stop(self) -> None:
        """Say from now on that it is not ready, so that no new caller is sent here."""
        self._stopping = True

    async def __call__(self) -> Readiness:
        """Return what holds now, or held a second ago."""
        if self._stopping:
            return Readiness({"process": "is stopping"})
        loop = asyncio.get_running_loop()
        old = self._found is None or (self._found.done() and loop.time() - self._found_at > _CACHE_SECONDS)
        if old:
            # In no request's context, since it answers others, too.
            self._found = loop.create_task(self._look(), context=Context())
        assert self._found  # noqa: S101 - made above
        return await asyncio.shield(self._found)

    async def _look(self) -> Readiness:
        found = await asyncio.gather(*(self._checked(name) for name in self._checks))
        self._found_at = asyncio.get_running_loop().time()
        return Readiness(dict(zip(self._checks, found, strict=True)))

    async def _checked(self, name: str) -> str:
        running = self._running.get(name)
        if running is None or running.done():
            running = self._running[name] = asyncio.create_task(self._run(name))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await asyncio.shield(running)
        except TimeoutError:
            return f"does not answer within {_PATIENCE_SECONDS} seconds"

    async def _run(self, name: str) -> str:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._checks[name])
        except NotReady as error:
            return str(error)
        except Exception:
            log.exception("the check %r failed", name)
            return "failed, see the log"
        return "ok"
