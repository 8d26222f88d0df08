"""Steps of a test before and after each commit of a store."""

from collections.abc import Callable, Sequence

from application.transaction.known_rows import KnownLoad
from application.transaction.records import Changes
from application.transaction.store import StoreOnLoop
from tests.support.service import AnyStore

Step = Callable[[Changes], None]


def _nothing(_: Changes) -> None:
    pass


def around_commits(store: AnyStore, *, before: Step = _nothing, after: Step = _nothing) -> None:
    """Call these functions in the commits of the store, those on the event loop too."""
    commit, commit_if_free = store.commit, store.commit_if_free

    def wrapped(changes: Changes) -> None:
        before(changes)
        commit(changes)
        after(changes)

    def wrapped_if_free(changes: Changes) -> bool:
        before(changes)
        if is_stored := commit_if_free(changes):
            after(changes)
        return is_stored

    store.commit = wrapped  # type: ignore[method-assign]
    store.commit_if_free = wrapped_if_free  # type: ignore[method-assign]
    if isinstance(store, StoreOnLoop):
        commit_on_loop = store.commit_on_loop

        async def wrapped_on_loop(changes: Changes, known: Sequence[KnownLoad] = ()) -> None:
            before(changes)
            await commit_on_loop(changes, known)
            after(changes)

        store.commit_on_loop = wrapped_on_loop  # type: ignore[method-assign]
