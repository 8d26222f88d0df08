"""History, past states, search, checkpoints and evidence over HTTP, on both stores."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from application.record.checkpoint import checkpoint_text
from application.record.ledger import LedgerTree
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.verify_evidence import Wrong, parse_keys, verify
from tests.support.evidence import open_store
from tests.support.web import BASE, RESET, TICKET, USER, Web, web_over

HISTORY = f"{TICKET}/history"
SEARCH = f"{BASE}/client-123/history"


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def keys(web: Web, tmp_path: Path) -> str:
    found = LedgerKeys(tmp_path / "ledger", "tickets", clock=web.service.clock, overlap=timedelta())
    return "\n".join(key for _, key in found.public())


def items(web: Web, path: str, **query: Any) -> list[Any]:
    answer = web.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


def given_a_life(web: Web) -> None:
    web.given_a_ticket()
    web.service.clock.advance(timedelta(hours=1))
    web.client.post(RESET, json={"modificationComment": "lost letter"}, headers=web.as_caller(subject="anna"))
    web.service.clock.advance(timedelta(hours=1))
    web.client.patch(TICKET, json={"stateName": "disabled"})


def test_the_history_has_actor_action_time_reason_and_changes(web: Web) -> None:
    given_a_life(web)

    created, reset, disabled = items(web, HISTORY)

    assert [item["version"] for item in (created, reset, disabled)] == [1, 2, 3]
    assert [item["type"] for item in (created, reset, disabled)] == [
        "TicketCreated",
        "TicketRegenerated",
        "TicketStateChanged",
    ]
    assert (reset["actor"], reset["reason"], reset["time"]) == ("anna", "lost letter", "2026-11-23T10:42:00Z")
    changes = {change["field"]: (change["from"], change["to"]) for change in reset["changes"]}
    assert changes["resetCount"] == (0, 1)
    assert changes["validity.to"] == ("2026-11-28T09:42:00Z", "2026-11-28T10:42:00Z")
    assert changes["ticket"][0] != changes["ticket"][1]
    assert all(shown.startswith("{SSHA256} ") and len(shown) == 26 for shown in changes["ticket"])
    assert {"field": "stateName", "from": "active", "to": "disabled"} in disabled["changes"]
    assert disabled["position"] > reset["position"] > created["position"]


def test_the_history_comes_in_pages(web: Web) -> None:
    given_a_life(web)

    first = web.client.get(HISTORY, params={"limit": 2}).json()
    token = first["_pagination"]["continuationToken"]
    second = web.client.get(HISTORY, params={"limit": 2, "continuationToken": token}).json()

    assert [item["version"] for item in first["items"] + second["items"]] == [1, 2, 3]
    assert second["_pagination"]["continuationToken"] is None


def test_a_deleted_ticket_has_its_history_and_a_past_but_no_present(web: Web) -> None:
    given_a_life(web)
    web.client.delete(TICKET)

    assert items(web, HISTORY)[-1]["type"] == "TicketDeleted"
    assert {"field": "stateName", "from": "disabled", "to": None} in items(web, HISTORY)[-1]["changes"]
    assert web.client.get(TICKET).status_code == 404
    assert web.client.get(TICKET, params={"atVersion": 4}).status_code == 404
    assert web.client.get(TICKET, params={"atVersion": 3}).json()["stateName"] == "disabled"


def test_a_past_state_equals_the_response_to_a_get_at_that_time(web: Web) -> None:
    web.given_a_user()
    answers = []
    for change in (
        lambda: web.client.post(TICKET),
        lambda: web.client.post(f"{TICKET}/verify", json={"ticket": "wrong"}),
        lambda: web.client.post(f"{TICKET}/verify", json={"ticket": "wrong"}),
        lambda: web.service.clock.advance(timedelta(minutes=2)),  # the lock ends by itself
        lambda: web.client.post(RESET),
    ):
        change()
        answers.append((web.service.clock.now, web.client.get(TICKET)))
        web.service.clock.advance(timedelta(seconds=1))

    for moment, answer in answers:
        then = web.client.get(TICKET, params={"at": moment.isoformat()})
        assert (then.content, then.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert [answer.json()["stateName"] for _, answer in answers] == [
        "active",
        "active",
        "tmp-locked",
        "active",
        "active",
    ]


@pytest.mark.parametrize(
    "query", [{"at": "2020-01-01T00:00:00Z"}, {"at": "2999-01-01T00:00:00Z"}, {"atVersion": "9"}]
)
def test_a_state_that_never_existed_is_not_found(web: Web, query: dict[str, str]) -> None:
    given_a_life(web)

    assert web.client.get(TICKET, params=query).status_code == 404


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (TICKET, {"at": "yesterday"}),
        (TICKET, {"atVersion": "0"}),
        (TICKET, {"atVersion": "x"}),
        (SEARCH, {"actor": ""}),
        (SEARCH, {"from": "2026"}),
        (SEARCH, {"correlationId": "x"}),
        (SEARCH, {"continuationToken": "x"}),
        (HISTORY, {"limit": "0"}),
        (f"{TICKET}/evidence", {"since": "-1"}),
        (f"{TICKET}/evidence", {"checkpoint": "tickets/client-123\nx\nAAAA\n"}),
        (f"{TICKET}/evidence", {"checkpoint": "tickets/another\n1\nAAAA\n"}),
        (f"{TICKET}/evidence", {"checkpoint": "tickets/client-123\n1\nAAAA\n", "since": "1"}),
    ],
)
# Refused before the store is asked.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_malformed_query_is_refused(web: Web, path: str, query: dict[str, str]) -> None:
    given_a_life(web)

    assert web.client.get(path, params=query).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        HISTORY,
        SEARCH,
        f"{BASE}/client-123/checkpoints",
        f"{TICKET}/evidence",
        f"{BASE}/client-123/evidence",
        f"{TICKET}?atVersion=1",
    ],
)
# Refused before the store is asked.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_past_state_requires_its_permission(web: Web, path: str) -> None:
    given_a_life(web)
    helpdesk = web.as_caller(permissions=["AccessControl.CredentialView"])

    assert web.client.get(path, headers=helpdesk).status_code == 403


def test_the_permission_for_histories_shows_the_past_and_not_the_present(web: Web) -> None:
    given_a_life(web)
    auditor = web.as_caller(permissions=["AccessControl.HistoryView"])

    for query in ({"atVersion": "1"}, {"at": "2026-11-23T09:42:00Z"}):
        assert web.client.get(TICKET, params=query, headers=auditor).json()["resetCount"] == 0
    assert web.client.get(TICKET, headers=auditor).status_code == 403


def test_the_search_finds_by_every_filter(web: Web) -> None:
    given_a_life(web)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    web.client.post(RESET, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})  # refused: disabled
    other = f"{BASE}/client-123/users/other"
    web.client.put(other, json={"email": "other@example.com"})
    web.client.post(f"{other}/ticket")

    def found(**query: str) -> list[str]:
        return [
            item["type"] for item in items(web, SEARCH, **query) if item["details"].get("outcome") != "read"
        ]

    assert found(actor="anna") == ["TicketRegenerated"]
    assert found(type="TicketCreated") == ["TicketCreated", "TicketCreated"]
    assert found(userExtId="other") == ["UserRegistered", "TicketCreated"]
    assert found(correlationId=trace) == ["AccessNoted"]
    assert found(**{"from": "2026-11-23T10:00:00Z", "to": "2026-11-23T11:00:00Z"}) == ["TicketRegenerated"]
    assert found(actor="anna", type="TicketCreated") == []
    positions = [item["position"] for item in items(web, SEARCH)]
    assert positions == list(range(1, len(positions) + 1))


def test_refusals_and_reads_are_recorded_and_a_flood_is_counted(web: Web) -> None:
    given_a_life(web)
    for _ in range(46):  # with the writes above, as many as the limit of the credential allows
        assert web.client.post(RESET).status_code == 422
    items(web, HISTORY)

    notes = items(web, SEARCH, type="AccessNoted", limit=1000)

    refused = [note["details"] for note in notes if note["details"]["outcome"] == "errors.policyViolation"]
    assert len(refused) == 20
    assert {(note["operation"], note["count"]) for note in refused} == {("regenerateTicket", 1)}
    assert ("getHistory", "read") in {
        (note["details"]["operation"], note["details"]["outcome"]) for note in notes
    }
    web.service.clock.advance(timedelta(minutes=1))
    items(web, HISTORY)
    counted = [note["details"] for note in items(web, SEARCH, type="AccessNoted", limit=1000)]
    assert [note["count"] for note in counted if note["count"] > 1] == [26]


def test_an_attempt_at_a_locked_ticket_is_recorded(web: Web) -> None:
    web.given_a_ticket()
    for _ in range(3):
        web.client.post(f"{TICKET}/verify", json={"ticket": "wrong"})

    [note] = items(web, SEARCH, type="AccessNoted")[:1]

    assert (note["details"]["operation"], note["details"]["outcome"]) == ("verifyTicket", "locked")


def test_the_evidence_verifies_and_extends_an_older_checkpoint(web: Web, tmp_path: Path) -> None:
    given_a_life(web)
    older = web.client.get(f"{TICKET}/evidence")
    [checkpoint] = items(web, f"{BASE}/client-123/checkpoints")
    web.client.patch(TICKET, json={"stateName": "active"})
    web.client.delete(USER)

    newer = web.client.get(f"{TICKET}/evidence")

    assert newer.headers["content-type"] == "application/zip"
    verified = verify(newer.content, parse_keys(keys(web, tmp_path)), checkpoint["note"].encode())
    assert (verified.client, verified.scope.name, verified.events) == ("client-123", "user-123", 5)
    assert verify(older.content, parse_keys(keys(web, tmp_path))).events == 3
    newest = items(web, f"{BASE}/client-123/checkpoints")[-1]["note"].encode()
    with pytest.raises(Wrong, match="entries were removed"):
        verify(older.content, parse_keys(keys(web, tmp_path)), newest)


def test_the_evidence_proves_consistency_with_a_checkpoint_that_is_not_stored(
    web: Web, tmp_path: Path
) -> None:
    given_a_life(web)
    root = LedgerTree(web.service.store, "client-123").subtree(0, 2)
    signer = LedgerKeys(tmp_path / "ledger", "tickets", clock=web.service.clock, overlap=timedelta())
    kept = signer.sign(checkpoint_text("tickets/client-123", 2, root, None))

    for query in ({"checkpoint": kept}, {"since": "2"}):
        found = web.client.get(f"{TICKET}/evidence", params=query)

        assert verify(found.content, parse_keys(keys(web, tmp_path)), kept.encode()).events == 3
    larger = kept.replace("\n2\n", "\n2000\n")
    assert web.client.get(f"{TICKET}/evidence", params={"checkpoint": larger}).status_code == 404


def test_no_hash_and_no_ticket_is_in_a_history(web: Web) -> None:
    given_a_life(web)
    stored = web.client.get(TICKET).json()["ticket"]

    for path in (HISTORY, SEARCH):
        assert base64.b64encode(stored.encode()).decode() not in web.client.get(path).text
        assert stored not in web.client.get(path).text


def test_there_is_no_evidence_of_a_ticket_that_never_existed(web: Web) -> None:
    web.given_a_user()

    assert web.client.get(f"{TICKET}/evidence").status_code == 404
    assert web.client.get(HISTORY).status_code == 404


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_public_keys_of_the_ledger_need_no_token(web: Web, tmp_path: Path) -> None:
    answer = web.client.get("/.well-known/ticket-ledger-keys", headers={"Authorization": ""})

    [key] = answer.json()["keys"]
    assert (key["key"], key["until"]) == (keys(web, tmp_path), None)
    assert (key["since"], len(key["fingerprint"])) == ("2026-11-23T09:42:00Z", 39)
