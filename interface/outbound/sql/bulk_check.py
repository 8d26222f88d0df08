"""The check of bulk jobs: their users are those of the first event, and each reset of an item is an event that names the job."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

import msgspec

from domain.bulk.bulk_job import RESET, JobState, digest_of
from domain.shared.errors import REFUSALS
from domain.tickets.events import TicketRegenerated
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.table import Fetch, Row, pages

_JOBS = """
SELECT client_ext_id, job, row FROM bulk_jobs WHERE (client_ext_id, job) > (?, ?) ORDER BY client_ext_id, job LIMIT ?
"""
_USERS = "SELECT first, users FROM bulk_users WHERE client_ext_id = ? AND job = ? ORDER BY first"
_ITEMS = """
SELECT number, user_ext_id, outcome, version, processed FROM bulk_items
WHERE client_ext_id = ? AND job = ? AND number > ? ORDER BY number LIMIT ?
"""
# The events of the items have the trace of the job.
_EVENTS = """
SELECT position, user_ext_id, version, occurred, state FROM ledger
JOIN ticket_events ON originator_id = stream AND originator_version = version
WHERE client_ext_id = ? AND trace_id = ? AND position > ? AND ledger.topic = ? ORDER BY position LIMIT ?
"""
_STRAYS = """
SELECT DISTINCT stray.client_ext_id, stray.job FROM {table} AS stray
LEFT JOIN bulk_jobs ON bulk_jobs.client_ext_id = stray.client_ext_id AND bulk_jobs.job = stray.job
WHERE bulk_jobs.job IS NULL
"""
_PAGE = 500
_to_job = msgspec.json.Decoder(JobState).decode
_to_users = msgspec.json.Decoder(list[str]).decode


def bulk_faults(fetch: Fetch) -> Iterator[str]:
    """Yield a message for each job whose users, items or outcomes differ from the events."""
    for client, job, row in chain.from_iterable(pages(fetch, _JOBS, ("", ""))):
        try:
            state = _to_job(row)
        except (ValueError, TypeError, RecursionError) as error:
            yield f"{_place(client, job)}: cannot be decoded: {error}"
            continue
        faults = _faults(state, (client, job), fetch)
        # A running service may have processed items between the queries: a fault stays.
        lasting = faults and _faults(state, (client, job), fetch)
        yield from (f"{_place(client, job)}: {fault}" for fault in faults if fault in lasting)
    for table in ("bulk_users", "bulk_items"):
        for client, job in map(tuple, fetch(_STRAYS.format(table=table), ())):
            yield f"{_place(client, job)}: table {table} has rows of a job that does not exist"


def _place(client: str, job: str) -> str:
    return f"client {client!r}, bulk job {job!r}"


def _faults(state: JobState, key: tuple[str, str], fetch: Fetch) -> Sequence[str]:
    users: list[str] = []
    for first, page in map(tuple, fetch(_USERS, key)):
        if first != len(users) + 1:
            return [f"the page of users {first} does not follow user {len(users)}"]
        try:
            users += _to_users(page)
        except (ValueError, TypeError, RecursionError) as error:
            return [f"the page of users {first} cannot be decoded: {error}"]
    if (len(users), digest_of(users)) != (state.user_count, state.users_digest):
        return ["its users differ from those of its first event"]
    resets = _resets(state, fetch)
    faults, outcomes = list[str](), dict[str, int]()
    for number, user, outcome, version, time in _rows(fetch, _ITEMS, key, ()):
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        wanted = users[number - 1] if 0 < number <= len(users) else None
        if user != wanted:
            faults.append(f"item {number} is of user {user!r}, not {wanted!r}")
        elif outcome == RESET and resets.pop(user, None) != (version, time):
            faults.append(
                f"item {number}: no event of this version and time resets the ticket of user {user!r}"
            )
        elif outcome not in (RESET, *REFUSALS) or (outcome != RESET and version):
            faults.append(f"item {number}: the outcome {outcome!r} is not possible")
    faults += [f"the item of user {user!r} is missing" for user in resets]
    if state.outcomes is not None and outcomes != state.outcomes:
        faults.append("the outcomes of its items differ from those of its last event")
    return faults


def _resets(state: JobState, fetch: Fetch) -> dict[str, tuple[int, str]]:
    """Return the version and the time of each reset that names the job, by user."""
    found = {}
    of_trace = (state.client_ext_id, state.correlation_id[3:35])
    for _, user, version, occurred, event_state in _rows(
        fetch, _EVENTS, of_trace, (TicketRegenerated.TOPIC,)
    ):
        # The check of the streams reports an event that cannot be decoded.
        with suppress(ValueError, TypeError, RecursionError):
            event = decoded(TicketRegenerated.TOPIC, bytes(event_state))
            if isinstance(event, TicketRegenerated) and event.job == state.job:
                found[user] = (version, occurred)
    return found


def _rows(fetch: Fetch, statement: str, before: Row, after: Row) -> Iterator[Row]:
    """Yield all rows in pages by their first column, a number. before, after: the parameters around it."""
    place = 0
    while page := [tuple(row) for row in fetch(statement, (*before, place, *after, _PAGE))]:
        yield from page
        place = page[-1][0]
