"""Evidence of anything over HTTP, on both stores: each scope verifies, and the exports of a client are bounded."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.policies.policy_definition import policy_stream_id
from interface.composition.register.record import EXPORTS_PER_CLIENT
from interface.http.core.problems import TooManyRequests
from interface.http.record.routes import RecordPart
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.verify_evidence import parse_keys, verify
from tests.support.evidence import open_store
from tests.support.web import BASE, RESET, TICKET, Web, web_over

CLIENT = "client-123"
EVIDENCE = f"{BASE}/{CLIENT}/evidence"


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        web.given_a_ticket()
        web.client.post(RESET, json={"modificationComment": "lost letter"})
        web.service.define("letters")
        yield web
    store.close()


def public(web: Web, directory: Path) -> list[Any]:
    keys = LedgerKeys(directory / "ledger", "tickets", clock=web.service.clock, overlap=timedelta())
    return parse_keys("\n".join(key for _, key in keys.public()))


@pytest.mark.parametrize(
    ("query", "scope"),
    [
        ({"policyExtId": "letters"}, "of policy 'letters'"),
        ({"stream": str(policy_stream_id(CLIENT, "letters"))}, "of stream"),
        ({"first": "2", "last": "2"}, "at positions 2 to 2"),
        ({"first": "2"}, "at positions 2 to "),
        ({}, "at positions 1 to "),
    ],
)
def test_each_scope_verifies(web: Web, tmp_path: Path, query: dict[str, str], scope: str) -> None:
    answer = web.client.get(EVIDENCE, params=query)

    found = verify(answer.content, public(web, tmp_path))

    assert scope in str(found)
    if found.scope.kind == "entries":
        first, last = found.scope.positions
        assert [event.position for event in found.history] == [*range(first, last + 1)]
    else:
        assert [event.topic for event in found.history] == ["PolicyDefined"]
    [access] = web.service.store.entries_of_topics(CLIENT, ["AccessNoted"], 0, 10)[-1:]
    event: Any = web.service.store.event(access)
    assert (event.operation, event.filters or ()) == ("getLedgerEvidence", tuple(query))


def test_the_text_of_an_event_is_disclosed_until_it_is_erased(web: Web, tmp_path: Path) -> None:
    reasons = []
    for _ in range(2):
        found = verify(web.client.get(EVIDENCE).content, public(web, tmp_path))
        reasons += [event.reason for event in found.history if event.topic == "TicketRegenerated"]
        web.service.store._run("DELETE FROM details", [()])

    assert reasons == ["lost letter", "erased"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"policyExtId": "letters", "first": "1"}, 400),
        ({"policyExtId": "letters", "subscription": "siem"}, 400),
        ({"stream": "letters"}, 400),
        ({"first": "3", "last": "2"}, 400),
        ({"first": "0"}, 400),
        ({"policyExtId": "unknown"}, 404),
        ({"subscription": "unknown"}, 404),
        ({"first": "100"}, 404),
        ({"last": "100"}, 404),
    ],
)
def test_a_scope_that_is_wrong_or_empty_is_refused(web: Web, query: dict[str, str], status: int) -> None:
    answer = web.client.get(EVIDENCE, params=query)

    assert answer.status_code == status


def test_exports_of_a_client_at_the_same_time_are_bounded(web: Web) -> None:
    assert [web.client.get(EVIDENCE).status_code for _ in range(EXPORTS_PER_CLIENT + 1)] == [200] * (
        EXPORTS_PER_CLIENT + 1
    )
    limit = web.client.app.state.parts[RecordPart].exports  # type: ignore[attr-defined]
    for _ in range(EXPORTS_PER_CLIENT):
        limit.begin(CLIENT)

    for path in (EVIDENCE, f"{TICKET}/evidence"):
        refused = web.client.get(path)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    limit.end(CLIENT)
    assert web.client.get(EVIDENCE, params={"first": "100"}).status_code == 404
    assert web.client.get(EVIDENCE).status_code == 200
    with pytest.raises(TooManyRequests):
        [limit.begin(CLIENT) for _ in range(2)]
