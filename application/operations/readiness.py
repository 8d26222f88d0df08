"""Readiness checks of this process; their result is cached."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass

_CACHE_SECONDS = 1
_CHECK_TIMEOUT_SECONDS = 3

log = logging.getLogger(__name__)


class NotReady(Exception):
    """A check failed. The message is public, so it contains no host and no path."""


@dataclass(frozen=True)
class Readiness:
    """The result of the checks by name: `ok`, `ok: ` and a degradation, or the fault."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether every check succeeded."""
        return all(result == "ok" or result.startswith("ok: ") for result in self.checks.values())


class Probe:
    """Runs the checks at most once a second, each with a time-out of three seconds.

    checks: each raises NotReady if it fails, and may return a text about a degradation. They run in separate threads:
    they may block, and other blocked threads (such as writing letters to a full disk) must not make the process unready.
    A check that hangs is not started again.
    """

    def __init__(self, checks: Mapping[str, Callable[[], str | None]]) -> None:
        self._checks = checks
        self._threads = ThreadPoolExecutor(max(1, len(checks)), "readiness")
        self._running: dict[str, asyncio.Task[str]] = {}
        self._stopping = False
        self._found: asyncio.Task[Readiness] | None = None
        self._found_at = 0.0

    def stop(self) -> None:
        """Report not ready from now on, so that the load balancer sends no new requests."""
        self._stopping = True

    async def __call__(self) -> Readiness:
        """Return the result, at most one second old."""
        if self._stopping:
            return Readiness({"process": "is stopping"})
        loop = asyncio.get_running_loop()
        old = self._found is None or (self._found.done() and loop.time() - self._found_at > _CACHE_SECONDS)
        if old:
            # In an empty context, since the task serves other requests, too.
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
            async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
                return await asyncio.shield(running)
        except TimeoutError:
            return f"no answer within {_CHECK_TIMEOUT_SECONDS} seconds"

    async def _run(self, name: str) -> str:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._checks[name])
        except NotReady as error:
            return str(error)
        except Exception:
            log.exception("readiness check %r failed", name)
            return "failed; see the log"
        return f"ok: {found}" if found else "ok"
