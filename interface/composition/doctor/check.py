"""The check of the age and the result of the newest check of the record."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

from application.record.installation import newest_check
from application.shared.wire import utc_date
from domain.record.installation import PASSED
from interface.cli.operations.commands import Finding, Health
from interface.composition.installation import open_current
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings

_CHECK = "record"
# A server looks whether a check is due, and the check takes time.
_OVERDUE = 2


def check_record_age(settings: Settings) -> Iterator[Finding]:
    """Report the age and the result of the newest check of the record."""
    try:
        store = open_current(settings)
    except (OSError, RuntimeError, InvalidSettings):
        return  # the check of the store reports it
    with closing(store):
        checked, is_empty = newest_check(store), store.newest_time() is None
    every = timedelta(seconds=settings.check_every_seconds)
    advice = "run `tickets jobs check`; a running server does so every TICKETS_CHECK_EVERY_SECONDS"
    if checked is None:
        if is_empty:
            yield Finding(_CHECK, Health.GOOD, "has no events to check")
        else:
            yield Finding(_CHECK, Health.WARNING, "was never checked", advice)
        return
    done = utc_date(checked.timestamp)
    if checked.outcome != PASSED:
        yield Finding(
            _CHECK, Health.BAD, f"the check of {done} failed", "tickets replay --check names each fault"
        )
    elif every and system_clock() - checked.timestamp > _OVERDUE * every:
        yield Finding(_CHECK, Health.WARNING, f"was not checked since {done}", advice)
    else:
        yield Finding(_CHECK, Health.GOOD, f"the check of {done} passed")
