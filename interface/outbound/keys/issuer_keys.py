"""The keys of a token issuer, fetched in the background from the URL of its key set."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import Context

from application.shared.errors import KeysUnavailable
from application.shared.faults import log_fault
from interface.outbound.http_out.outgoing_http import request_once
from interface.outbound.keys.key_set import KeySet, VerificationKey, read_key_set

MAX_BYTES = 256 * 1024
_TIMEOUT_SECONDS = 5
# A caller with an unknown key waits at most this long for the fetch; a retry finds the key if it exists.
_WAIT_SECONDS = 2
_MIN_PAUSE_SECONDS = 1

log = logging.getLogger(__name__)


class IssuerKeys:
    """The keys in the key set behind a URL.

    `run` fetches the set before it is `lifespan_seconds` old. While that fails, its keys stay valid for `stale_seconds`
    more (stale-if-error of RFC 5861, in spirit). A known key is found in memory. Tokens with an unknown key wait for
    one fetch, which starts `cooldown_seconds` after the former one at the earliest, failed or not.
    wait_seconds: how long they wait. observe: called after each fetch with the age of the set in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        lifespan_seconds: float,
        cooldown_seconds: float,
        stale_seconds: float,
        wait_seconds: float = _WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._lifespan = lifespan_seconds
        self._cooldown = cooldown_seconds
        self._valid = lifespan_seconds + stale_seconds
        self._wait = wait_seconds
        self._clock = clock
        self._observe = observe
        self._set = KeySet()
        self._fetched_at = self._next_fetch_at = clock()
        self._failures = 0
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token, or none. Raises KeysUnavailable if the set cannot be fetched."""
        if found := self._current().named(kid, algorithm):
            return found
        if self._is_fetching() or self._clock() >= self._next_fetch_at:
            await asyncio.wait([self._fetch()], timeout=self._wait)
        if found := self._current().candidates(kid, algorithm):
            return found
        if self._failures or self._is_fetching():
            raise KeysUnavailable("a token has an unknown key, and the issuer's key set cannot be fetched")
        return ()

    def holds(self, thumbprint: str) -> bool:
        """Return whether a key is still accepted."""
        return self._current().holds(thumbprint)

    def age_seconds(self) -> float:
        """Return the time since the newest successful fetch, or since the start if there was none."""
        return self._clock() - self._fetched_at

    def status(self) -> tuple[bool, str]:
        """Return whether tokens can be verified, and a text without a host for the operator."""
        if not self._current().keys:
            return False, "no valid key of the token issuer is known"
        if self.age_seconds() <= self._lifespan:
            return True, ""
        return (
            True,
            f"the token issuer's key set cannot be fetched; it is {self.age_seconds():.0f} seconds old",
        )

    async def run(self) -> None:
        """Fetch the set forever, until cancelled."""
        try:
            while True:
                await asyncio.wait([self._fetch()])
                await asyncio.sleep(self._pause_seconds())
        finally:
            if self._fetching:
                self._fetching.cancel()

    def _current(self) -> KeySet:
        return self._set if self.age_seconds() <= self._valid else KeySet()

    def _is_fetching(self) -> bool:
        return self._fetching is not None and not self._fetching.done()

    def _fetch(self) -> asyncio.Task[None]:
        """Return the running fetch; start it if it is missing."""
        if self._fetching is None or self._fetching.done():
            # In an empty context, since the task serves other requests, too.
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_once(), context=Context())
        return self._fetching

    async def _fetch_once(self) -> None:
        try:
            found = await fetch_key_set(self._url)
        except Exception as error:  # noqa: BLE001 - the loop must survive any fault of the response
            self._failures += 1
            known = isinstance(error, OSError | ValueError)
            if not known:
                log_fault(log, "the token issuer's key set cannot be fetched", error)
            reason = error if known else type(error).__name__
            log.warning("the token issuer's key set cannot be fetched: %s; %s", reason, self._outlook())
        else:
            if self._failures:
                log.info("the token issuer's key set was fetched after %d failures", self._failures)
            if not found.keys:
                log.warning("the token issuer's key set has no accepted key: no token is accepted")
            for message in set(found.refused) - set(self._set.refused):
                log.warning("the token issuer's %s", message)
            self._set, self._fetched_at, self._failures = found, self._clock(), 0
        self._next_fetch_at = self._clock() + self._cooldown
        self._observe(self.age_seconds() if self._failures else 0)

    def _outlook(self) -> str:
        if not self._current().keys:
            return "no token is accepted"
        left = self._valid - self.age_seconds()
        return f"tokens of its {len(self._set.keys)} known keys are accepted for {left:.0f} s more"

    def _pause_seconds(self) -> float:
        if not self._failures:
            return max(self._lifespan / 2, self._lifespan - 2 * _TIMEOUT_SECONDS)
        return min(2.0 ** min(self._failures, 10), max(self._cooldown, _MIN_PAUSE_SECONDS))


async def fetch_key_set(url: str) -> KeySet:
    """Return the key set behind a URL. Raises OSError, ValueError; the messages do not have the URL."""
    headers = {"Accept": "application/jwk-set+json, application/json"}
    content = await request_once(
        "GET", url, headers, timeout_seconds=_TIMEOUT_SECONDS, max_response_bytes=MAX_BYTES + 1
    )
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 1024} KiB")
    return read_key_set(content)
