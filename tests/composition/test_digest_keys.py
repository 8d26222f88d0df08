"""The keys of the request digests, beside a process that rotates the outbox key."""

from contextlib import closing
from pathlib import Path

import pytest

from interface.composition.service import start
from interface.outbound.keys.outbox_keys import OutboxKeyFile
from interface.settings import Settings


def test_a_retry_is_compared_under_the_newest_keys(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a retry within the second of a rotation would be refused, if another process has answered the request."""
    monkeypatch.chdir(tmp_path)
    settings = Settings(database_url=sqlite_url)
    with closing(start(settings)) as running:
        [before] = running.digest_keys(newest=False)
        OutboxKeyFile(settings.outbox_key_file).rotate()

        assert len(running.digest_keys(newest=True)) == 2
        assert running.digest_keys(newest=True)[1] == before
