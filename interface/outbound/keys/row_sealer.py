"""The seals of rows: a MAC under a key that the database does not contain (ADR 19)."""

import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from application.shared.errors import KeyMissing

_FORMAT = b"\x01"
_KEY_ID_BYTES = 4
_HEADER_BYTES = len(_FORMAT) + _KEY_ID_BYTES
_MAC_BYTES = 16
_LABEL = b"tickets row seal v1"
# A new key does not seal for an hour, so that reading it within a minute is soon enough.
_REREAD_SECONDS = 60.0
_UNKNOWN_KEY_SECONDS = 1.0
_ASK_SECONDS = 1.0
_NAMED_EVERY_SECONDS = 60.0
_NAMED_AT_MOST = 1_000

log = logging.getLogger(__name__)


class RowSealer:
    """Seals rows by HMAC-SHA256. Seal = format (1 byte) ‖ key id (4) ‖ the first 16 bytes of the MAC.

    It covers the table, the columns of the key, the version and the content of a row; each part before the content, which is
    last, is framed. keys: returns secrets of 32 bytes, of which the first seals; the MAC keys are derived from them.
    is_required: every row must be sealed, in every store.
    observe: receives the table of each row without a valid seal, and whether it was "accepted" or "refused"; must not block.
    """

    def __init__(
        self,
        keys: Callable[[], Sequence[bytes]],
        *,
        is_required: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._secrets, self._clock = keys, clock
        self._is_required = is_required
        # The time of the last question to the store about each table; infinity: it is complete.
        self._asked: dict[str, float] = {}
        self.observe: Callable[[str, str], None] = lambda _table, _outcome: None
        # By the header of the seals, of which the first is that of new seals.
        self._macs: dict[bytes, HMAC] = {}
        self._read_at = -inf
        # The refused rows that were logged, since a time.
        self._named: set[str] = set()
        self._named_since = -inf

    def __repr__(self) -> str:
        return "RowSealer(***)"

    def seal(self, table: str, row: Sequence[Any]) -> bytes:
        """Return the seal of a row that begins with key (2 columns), version and content. Raises OSError, ValueError, KeyMissing."""
        self._read(_REREAD_SECONDS)
        header, mac = next(iter(self._macs.items()))
        return header + _digest(mac, table, row)

    def matches(self, table: str, row: Sequence[Any], seal: object) -> bool:
        """Return whether this is the seal of the row. Raises OSError, ValueError, KeyMissing."""
        if not isinstance(seal, bytes):
            return False
        header = seal[:_HEADER_BYTES]
        mac = self._macs.get(header)
        if mac is None:
            self._read(_UNKNOWN_KEY_SECONDS)
            mac = self._macs.get(header)
        if mac is None:
            return False
        try:
            return hmac.compare_digest(_digest(mac, table, row), seal[_HEADER_BYTES:])
        except (TypeError, UnicodeError):
            return False  # in SQLite, a value can have any type

    def is_complete(self, table: str, ask: Callable[[str], bool]) -> bool:
        """Return whether every row of a table must have a seal.

        ask: reads it from the store; called at most once a second, and no more after it returned True.
        """
        asked = self._asked.get(table, -inf)
        if self._is_required or asked == inf:
            return True
        now = self._clock()
        if now - asked < _ASK_SECONDS:
            return False
        found = ask(table)
        self._asked[table] = inf if found else now
        return found

    def set_complete(self, table: str) -> None:
        """Require a seal of every row of a table."""
        self._asked[table] = inf

    def is_to_be_named(self, place: str) -> bool:
        """Return whether to log a refused row: once a minute for each, for at most 1,000 rows a minute."""
        now = self._clock()
        if now - self._named_since >= _NAMED_EVERY_SECONDS:
            self._named.clear()
            self._named_since = now
        if place in self._named or len(self._named) >= _NAMED_AT_MOST:
            return False
        self._named.add(place)
        return True

    def _read(self, at_most_every: float) -> None:
        now = self._clock()
        if now - self._read_at < at_most_every:
            return
        try:
            secrets = self._secrets()
        except (OSError, ValueError, KeyMissing) as error:
            if not self._macs:
                raise
            log.warning("cannot read the keys of row seals, using those read before: %s", error)
        else:
            self._macs = {
                _FORMAT + _key_id(secret): HMAC(hmac.digest(secret, _LABEL, "sha256"), SHA256())
                for secret in secrets
            }
        self._read_at = now


def _digest(mac: HMAC, table: str, row: Sequence[Any]) -> bytes:
    client, name, version, content, *_ = row
    of_row = mac.copy()  # a copy does not set up the key again
    of_row.update(f"{table}\0{len(client)}:{client}{len(name)}:{name}{version}:".encode() + content)
    return of_row.finalize()[:_MAC_BYTES]


def _key_id(secret: bytes) -> bytes:
    return hashlib.sha256(b"row key id" + secret).digest()[:_KEY_ID_BYTES]
