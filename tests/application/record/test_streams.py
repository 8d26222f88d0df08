"""The columns of the ledger."""

from datetime import UTC, datetime

import pytest

from application.record.streams import column_date


@pytest.mark.parametrize(
    ("moment", "column"),
    [
        (datetime(2026, 3, 3, 12, 0, 0, 1, UTC), "2026-03-03T12:00:00.000001+00:00"),
        (datetime(2026, 3, 3, 12, tzinfo=UTC), "2026-03-03T12:00:00.000000+00:00"),
        (datetime(1, 1, 1, 0, 0, 0, 100_000, UTC), "0001-01-01T00:00:00.100000+00:00"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), "9999-12-31T23:59:59.999999+00:00"),
        (datetime(2026, 3, 3, 12), "2026-03-03T12:00:00.000000"),  # noqa: DTZ001 - a stored event may have one
    ],
)
def test_a_time_is_stored_with_microseconds(moment: datetime, column: str) -> None:
    assert column_date(moment) == moment.isoformat(timespec="microseconds") == column
