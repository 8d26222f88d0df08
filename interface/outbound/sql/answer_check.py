"""The check of the stored answers: each has the digest, the version and the user of the events of its command."""

from collections.abc import Iterator
from itertools import chain

import msgspec

from application.transaction.command import Answer
from domain.record.access_log import AccessNoted
from interface.outbound.sql.codec import decoded
from interface.outbound.sql.table import Fetch, pages

# A caller may send one trace id with every request; then the first events are compared.
_OF_TRACE = 100
_PAGE = """
SELECT client_ext_id, command_id, row, user_ext_id FROM answers
WHERE (client_ext_id, command_id) > (?, ?) ORDER BY client_ext_id, command_id LIMIT ?
"""
# The range chooses the index by trace: otherwise SQLite reads every entry of the client.
_EVENTS = """
SELECT ticket_events.topic, state, user_ext_id FROM ledger
JOIN ticket_events ON originator_id = stream AND originator_version = version
WHERE client_ext_id = ? AND trace_id = ? AND ledger.topic <> ? AND position > 0
ORDER BY position LIMIT ?
"""
_to_answer = msgspec.json.Decoder(Answer).decode


def answer_faults(fetch: Fetch) -> Iterator[str]:
    """Yield a message for each answer that cannot be decoded, or that differs from the events of its command."""
    for client, command_id, row, user in chain.from_iterable(pages(fetch, _PAGE, ("", ""))):
        try:
            answer = _to_answer(row)
            fault = _fault(client, command_id, answer, fetch)
            if (user or "") != answer.user_ext_id:  # NULL: release 1.0 wrote the row
                fault = f"column user_ext_id is {user!r}, not {answer.user_ext_id!r}"
        except (ValueError, TypeError, RecursionError) as error:
            fault = f"cannot be decoded: {error}"
        if fault:
            yield f"client {client!r}, answer to command {command_id!r}: {fault}"


def _fault(client: str, command_id: str, answer: Answer, fetch: Fetch) -> str:
    parameters = (client, answer.correlation_id[3:35], AccessNoted.TOPIC, _OF_TRACE)
    found = [
        (decoded(topic, bytes(state)), user) for topic, state, user in map(tuple, fetch(_EVENTS, parameters))
    ]
    mine = [event for event, _ in found if event.command_id == command_id]
    users = {user for event, user in found if event.command_id == command_id}
    if answer.user_ext_id and users - {answer.user_ext_id}:
        return "its user differs from that of its events"
    if any(event.request_digest != answer.request_digest for event in mine):
        return "its request differs from that of its events"
    if (
        mine
        and answer.version is not None
        and answer.version not in {event.originator_version for event in mine}
    ):
        return f"its version {answer.version} differs from that of its events"
    return ""
