"""Work in one process at a time, as long as it holds a lease; another process takes over when it dies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from logging import Logger

from application.shared.errors import Unavailable
from application.transaction.store import Lease, Store

_INTERVAL_SECONDS = 1


async def work_under_lease(
    store: Store, name: str, work: Callable[[Lease], Awaitable[None]], what: str, log: Logger
) -> None:
    """Do the work whenever this process gets the lease; runs until cancelled.

    name: of the lease. work: ends when the lease is lost; after a failure it begins again. what: the work, for the log.
    """
    while True:
        try:
            async with _lease(store, name) as lease:
                if lease:
                    await work(lease)
        except Unavailable as error:
            log.warning("%s failed and will be retried: %s", what, error)
        except Exception:
            log.exception("%s failed and will be retried", what)
        await asyncio.sleep(_INTERVAL_SECONDS)


@asynccontextmanager
async def _lease(store: Store, name: str) -> AsyncIterator[Lease | None]:
    async with AsyncExitStack() as stack:
        context = store.lease(name)
        lease = await asyncio.to_thread(context.__enter__)
        stack.push_async_callback(asyncio.to_thread, context.__exit__, None, None, None)
        yield lease
