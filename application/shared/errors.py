"""Technical failures that several rooms handle; each refusal is declared in its room."""


class Conflict(Exception):
    """Another process changed the loaded rows before the commit; the commands must be decided again."""


class Unavailable(Exception):
    """A temporary failure; the caller may retry.

    It may be unknown whether a failed write was stored; a retry with the same Idempotency-Key resolves this.
    """

    retry_after_seconds = 1


class StoreUnavailable(Unavailable):
    """The store is unreachable, locked for too long, or cannot write."""


class LaterRelease(Unavailable):
    """The record contains data that only a later release can read; a process of that release can answer."""


class KeyMissing(Unavailable):
    """A signing key is missing."""


class KeysUnavailable(Unavailable):
    """The key that verifies a token is currently unknown, since the key set of its issuer cannot be fetched."""


class Overloaded(Unavailable):
    """The command queue is full."""


class ShareUsed(Exception):
    """A client has more requests waiting than its share; others are answered. The message is for the caller."""

    retry_after_seconds = 1


class SealBroken(Exception):
    """A sealed secret cannot be opened: it was sealed with another key, or its row was changed or moved."""


class RowRefused(Exception):
    """A stored row was not written by this service, or not in this place: its seal does not match."""

    def __init__(self, table: str) -> None:
        super().__init__(f"a row of table {table} is refused: run `tickets replay --check`")
