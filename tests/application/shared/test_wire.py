"""Times are written as the standard library writes them."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from application.shared.wire import utc_date
from interface.outbound.sql.outbox_tables import outbox_columns
from tests.support.pending import sample_pending

MOMENTS = st.datetimes(timezones=st.just(UTC))
SECONDS = MOMENTS.map(lambda moment: moment.replace(microsecond=0))


@given(MOMENTS | SECONDS)
def test_a_time_is_written_as_isoformat_writes_it(moment: datetime) -> None:
    entry = replace(sample_pending().entry, minted=moment)

    assert utc_date(moment) == moment.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    assert outbox_columns(entry)[5] == moment.isoformat()
