from typing import Any

import pytest

from application.record.replay import check_streams, stream_ranges
from tests.application.tickets.test_import_tickets import row
from tests.domain.tickets.test_stored_hash import hashed
from tests.support.web import BASE, Web

IMPORT = f"{BASE}/client-123/import"
USERS = f"{BASE}/client-123/users"


def body(*rows: Any, **changes: Any) -> dict[str, Any]:
    return {"source": "old", "items": list(rows), **changes}


def given_user(web: Web, user: str = "user-123") -> None:
    web.client.put(f"{USERS}/{user}", json={"email": "u@example.com"}).raise_for_status()


def test_an_imported_ticket_verifies_and_its_credential_is_returned(web: Web) -> None:
    given_user(web)

    answer = web.client.post(IMPORT, json=body(row(stateName="initial", resetCount=3), row(userExtId="x")))

    assert answer.json() == {
        "dryRun": False,
        "counts": {"created": 1, "refused": 1},
        "items": [
            {"userExtId": "user-123", "outcome": "created", "code": None, "message": None},
            {
                "userExtId": "x",
                "outcome": "refused",
                "code": "UserUnknown",
                "message": "Client 'client-123' has no user 'x'.",
            },
        ],
    }
    ticket = web.client.get(f"{USERS}/user-123/ticket").json()
    assert (ticket["stateName"], ticket["resetCount"]) == ("initial", 3)
    found = web.client.get(f"{BASE}/client-123/tickets", params={"stateName": "initial"}).json()
    assert [item["extId"] for item in found["items"]] == ["t-1"]
    web.client.patch(f"{USERS}/user-123/ticket", json={"stateName": "active"}).raise_for_status()
    verified = web.client.post(f"{USERS}/user-123/ticket/verify", json={"ticket": "the-ticket"})
    assert verified.json()["verified"]


def test_a_response_of_the_service_is_a_row(web: Web) -> None:
    given_user(web)
    given_user(web, "b")
    web.client.post(IMPORT, json=body(row()))
    exported = web.client.get(f"{USERS}/user-123/ticket").json()

    answer = web.client.post(IMPORT, json=body({**exported, "userExtId": "b"}, dryRun=True))

    assert answer.json()["counts"] == {"created": 1}


def test_a_repeated_request_gets_the_first_response(web: Web) -> None:
    given_user(web)
    key = {"Idempotency-Key": "once"}

    answers = [web.client.post(IMPORT, json=body(row()), headers=key) for _ in range(2)]
    other = web.client.post(IMPORT, json=body(row(failureCount=1)), headers=key)

    assert answers[0].content == answers[1].content
    assert web.client.post(IMPORT, json=body(row())).json()["counts"] == {"unchanged": 1}
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "errors.idempotencyKeyReused")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_the_check_of_the_record_finds_nothing(web: Web, headers: dict[str, str]) -> None:
    """It looks for the stored answers of requests with an Idempotency-Key."""
    given_user(web)
    web.client.post(IMPORT, json=body(row()), headers=headers).raise_for_status()

    [(begin, end)] = stream_ranges(1)
    assert check_streams("client-123", begin, end, ledger=web.service.store).faults == []


def test_a_dry_run_changes_nothing(web: Web) -> None:
    given_user(web)

    for _ in range(2):
        answer = web.client.post(IMPORT, json=body(row(), dryRun=True), headers={"Idempotency-Key": "dry"})
        assert answer.json()["counts"] == {"created": 1}
    assert web.client.get(f"{USERS}/user-123/ticket").status_code == 404


def test_more_slow_hashes_than_may_wait_are_computed(web: Web) -> None:
    users = [f"u{number}" for number in range(3)]
    for user in users:
        given_user(web, user)
    rows = [row(userExtId=user, extId=user, ticket=hashed("SSHA", "abcd", b"s")) for user in users]

    assert web.client.post(IMPORT, json=body(*rows)).json()["counts"] == {"created": 3}


def test_if_match_is_checked_for_each_row(web: Web) -> None:
    given_user(web)

    answer = web.client.post(IMPORT, json=body(row()), headers={"If-Match": '"1"'})

    assert [item["code"] for item in answer.json()["items"]] == ["PreconditionFailed"]


def test_a_second_row_of_a_user_is_refused(web: Web) -> None:
    given_user(web)

    answer = web.client.post(IMPORT, json=body(row(), row(failureCount=1))).json()

    assert [(item["outcome"], item["code"]) for item in answer["items"]] == [
        ("created", None),
        ("refused", "DuplicateUser"),
    ]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (body(), "items: List should have at least 1 item"),
        (body(row(stateName="new")), "items.0.stateName: Input should be"),
        (body(row(), source=""), "source: String should have at least 1 character"),
        (body(row(), saltFirst="yes"), "saltFirst: Input should be a valid boolean"),
    ],
)
def test_a_malformed_request_is_refused_completely(web: Web, sent: Any, message: str) -> None:
    answer = web.client.post(IMPORT, json=sent)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(message)
