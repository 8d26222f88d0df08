from datetime import timedelta
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from application.shared.errors import StoreUnavailable
from tests.support.fakes import TRACEPARENT
from tests.support.ledgers import opened
from tests.support.stores import history_of
from tests.support.web import BASE, RESET, TICKET, USER, Web, web_over


def test_the_complete_response_to_a_create(web: Web) -> None:
    web.given_a_user()

    answer = web.client.post(TICKET, json={"extId": "ticket-1", "modificationComment": "joined"})

    assert (answer.status_code, answer.headers["ETag"], answer.headers["Location"]) == (201, '"1"', TICKET)
    assert answer.json() == snapshot(
        {
            "created": "2026-11-23T09:42:00Z",
            "lastModified": "2026-11-23T09:42:00Z",
            "version": 1,
            "extId": "ticket-1",
            "userExtId": "user-123",
            "policyExtId": "default",
            "stateName": "active",
            "stateChangeReason": "initialized",
            "stateChangeDetail": None,
            "lastSuccessfulLoginDate": None,
            "successfulLoginCount": 0,
            "lastFailedLoginDate": None,
            "failedLoginCount": 0,
            "modificationComment": "joined",
            "type": "Ticket Authorization",
            "validity": {"from": "2026-11-23T09:42:00Z", "to": "2026-11-28T09:42:00Z"},
            "ticket": "{SSHA256}jeqrsmc509PO316YtysWlIT13G55WCdjCL2traZ91dTvLRJ943uUK6rQYUXlSwxh",
            "failureCount": 0,
            "successCount": 0,
            "resetCount": 0,
        }
    )


def test_the_complete_response_to_a_reset(web: Web) -> None:
    web.given_a_ticket(extId="ticket-1")
    web.service.clock.advance(timedelta(hours=1))

    answer = web.client.post(RESET, json={"modificationComment": "letter lost"})

    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
    assert answer.json() == snapshot(
        {
            "created": "2026-11-23T09:42:00Z",
            "lastModified": "2026-11-23T10:42:00Z",
            "version": 2,
            "extId": "ticket-1",
            "userExtId": "user-123",
            "policyExtId": "default",
            "stateName": "active",
            "stateChangeReason": "reset",
            "stateChangeDetail": None,
            "lastSuccessfulLoginDate": None,
            "successfulLoginCount": 0,
            "lastFailedLoginDate": None,
            "failedLoginCount": 0,
            "modificationComment": "letter lost",
            "type": "Ticket Authorization",
            "validity": {"from": "2026-11-23T10:42:00Z", "to": "2026-11-28T10:42:00Z"},
            "ticket": "{SSHA256}53zBO8ylB5PIlV8+83GkX09+XS1PQRLVzWC37XtXXIssYkIyzdIhdxKU37sxCsoA",
            "failureCount": 0,
            "successCount": 0,
            "resetCount": 1,
        }
    )


def test_a_reset_needs_no_body(web: Web) -> None:
    web.given_a_ticket()

    assert web.client.post(RESET).json()["resetCount"] == 1
    assert web.client.post(RESET).json()["resetCount"] == 2


def test_a_get_equals_the_response_to_the_last_change(web: Web) -> None:
    web.given_a_ticket()
    changed = web.client.post(RESET)

    answer = web.client.get(TICKET)

    assert (answer.status_code, answer.content) == (200, changed.content)
    assert answer.headers["ETag"] == changed.headers["ETag"]


def test_a_get_of_a_known_version_has_no_body(web: Web) -> None:
    web.given_a_ticket()

    for tags in ('"1"', 'W/"1"', '"9", "1"', "*"):
        answer = web.client.get(TICKET, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"1"')
    assert web.client.get(TICKET, headers={"If-None-Match": '"2"'}).status_code == 200


def test_if_match_guards_a_reset(web: Web) -> None:
    web.given_a_ticket()

    statuses = [
        web.client.post(RESET, headers={"If-Match": tags}).status_code
        for tags in ('"1"', '"1"', 'W/"2"', '"abc"', '"x", "2"', "*")
    ]

    assert statuses == [200, 412, 412, 412, 200, 200]


def test_the_complete_response_to_a_failed_precondition(web: Web) -> None:
    web.given_a_ticket()

    answer = web.client.post(RESET, headers={"If-Match": '"7"'})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == snapshot(
        {
            "type": "about:blank",
            "title": "Precondition failed",
            "status": 412,
            "detail": "The version in If-Match is not the current one. Reload the resource and retry.",
            "errors": [
                {
                    "code": "errors.optimisticLockingFailure",
                    "message": "The version in If-Match is not the current one. Reload the resource and retry.",
                }
            ],
        }
    )


def test_a_second_ticket_is_refused(web: Web) -> None:
    web.given_a_ticket()

    answer = web.client.post(TICKET)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "errors.ticketExists")


def test_a_disabled_ticket_is_not_reset(web: Web) -> None:
    web.given_a_ticket(stateName="disabled")

    answer = web.client.post(RESET)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "errors.policyViolation")
    assert web.client.get(TICKET).json()["version"] == 1


def test_an_unknown_user_and_a_user_without_a_ticket_are_not_found(web: Web) -> None:
    assert web.client.get(TICKET).json()["errors"][0]["code"] == "errors.noRecord"
    web.given_a_user()
    for method, path in (("GET", TICKET), ("POST", RESET)):
        answer = web.client.request(method, path)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "errors.noRecord")


def test_the_same_key_gets_the_first_response_byte_for_byte(web: Web) -> None:
    web.given_a_ticket()
    key = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}

    first = web.client.post(RESET, headers=key)
    web.client.post(RESET)
    web.service.clock.advance(timedelta(days=1))
    again = web.client.post(RESET, headers=key)

    assert (again.status_code, again.content, again.headers) == (200, first.content, first.headers)
    assert web.client.get(TICKET).json()["version"] == 3


def test_the_same_key_gets_the_first_refusal_byte_for_byte(web: Web) -> None:
    web.given_a_user()
    key = {"Idempotency-Key": "key"}

    first = web.client.post(RESET, headers=key)
    web.client.post(TICKET)
    again = web.client.post(RESET, headers=key)

    assert (again.status_code, again.content, again.headers) == (404, first.content, first.headers)


def test_a_stored_answer_with_an_unknown_outcome_is_an_internal_error(
    sqlite_url: str, tmp_path: Path
) -> None:
    """A later release can store such an answer. It is unknown whether the request succeeded."""
    with opened(sqlite_url) as store, web_over(store, tmp_path) as web:
        web.given_a_user()
        key = {"Idempotency-Key": "key"}
        assert web.client.post(RESET, headers=key).status_code == 404
        store._run("UPDATE answers SET row = CAST(replace(row, 'TicketUnknown', 'NoTicket') AS BLOB)", [()])

        again = web.client.post(RESET, headers=key)

    assert again.status_code == 500
    assert (again.json()["errors"][0]["code"], "NoTicket" in again.text) == ("errors.fatalError", False)
    assert again.json()["instance"]


def test_the_same_key_with_another_request_is_refused(web: Web) -> None:
    web.given_a_ticket()
    key = {"Idempotency-Key": "key"}
    web.client.post(RESET, headers=key)

    others = [
        web.client.post(RESET, headers=key, json={"modificationComment": "x"}),
        web.client.post(RESET, headers={**key, "If-Match": '"2"'}),
        web.client.post(TICKET, headers=key),
        web.client.post(RESET.replace("user-123", "user-4"), headers=key),
    ]

    assert [answer.status_code for answer in others] == [422] * 4
    assert {answer.json()["errors"][0]["code"] for answer in others} == {"errors.idempotencyKeyReused"}


def test_another_caller_may_use_the_same_key(web: Web) -> None:
    web.given_a_ticket()
    key = {"Idempotency-Key": "key"}

    web.client.post(RESET, headers=key)
    other = web.client.post(RESET, headers={**key, **web.as_caller(subject="someone else")})

    assert other.json()["resetCount"] == 2


def test_the_traceparent_is_stored_and_returned(web: Web) -> None:
    web.given_a_ticket()

    answer = web.client.post(RESET, headers={"traceparent": TRACEPARENT})

    assert answer.headers["traceparent"] == TRACEPARENT
    [*_, event] = history_of(web.service.store, ("client-123", "user-123"))  # type: ignore[arg-type]
    assert (event.correlation_id, event.actor) == (TRACEPARENT, "helpdesk")


def test_without_a_traceparent_one_is_created_for_errors_too(web: Web) -> None:
    one, other = web.client.get(TICKET), web.client.get("/nowhere")

    assert one.headers["traceparent"] != other.headers["traceparent"]
    assert len(one.headers["traceparent"]) == len(other.headers["traceparent"]) == 55


def test_an_id_may_contain_any_printable_character(web: Web) -> None:
    for encoded, ext_id in (
        ("a%2Fb", "a/b"),
        ("%E4%B8%96", "世"),
        ("%252F", "%2F"),
        ("a%20b", "a b"),
        ("%3F", "?"),
    ):
        path = f"{BASE}/client-123/users/{encoded}"
        assert web.client.put(path, json={"email": "a@b.ch"}).json()["extId"] == ext_id
        created = web.client.post(f"{path}/ticket")
        assert (created.json()["userExtId"], created.headers["Location"]) == (ext_id, f"{path}/ticket")


def test_the_complete_response_to_registering_a_user(web: Web) -> None:
    address = ["Bahnhofstrasse 1", "8001 Zürich"]
    answer = web.client.put(
        USER,
        json={
            "email": "una@example.com",
            "name": "Una",
            "language": "de-CH",
            "postalAddress": address,
            "timeZone": "Europe/Zurich",
        },
    )

    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    assert answer.json() == snapshot(
        {
            "created": "2026-11-23T09:42:00Z",
            "lastModified": "2026-11-23T09:42:00Z",
            "version": 1,
            "extId": "user-123",
            "email": "una@example.com",
            "name": "Una",
            "language": "de-CH",
            "postalAddress": ["Bahnhofstrasse 1", "8001 Zürich"],
            "timeZone": "Europe/Zurich",
        }
    )
    assert web.client.get(USER).json() == answer.json()


def test_replacing_a_user_is_200_and_honours_if_match(web: Web) -> None:
    web.given_a_user()

    lost = web.client.put(USER, json={"email": "b@example.com"}, headers={"If-Match": '"9"'})
    won = web.client.put(USER, json={"email": "b@example.com"}, headers={"If-Match": '"1"'})

    assert (lost.status_code, won.status_code, won.headers["ETag"]) == (412, 200, '"2"')
    assert web.client.get(USER, headers={"If-None-Match": '"2"'}).status_code == 304


def test_an_internal_error_has_the_id_of_its_log_entry_and_no_internals(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.given_a_ticket()
    web.service.sealer.seal = None  # type: ignore[method-assign,assignment]

    answer = web.client.post(RESET)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, "errors.fatalError")
    assert answer.json()["instance"] in caplog.text
    assert "NoneType" not in answer.text


def test_an_unreachable_store_is_503_with_retry_after(web: Web) -> None:
    web.given_a_ticket()

    def gone(*_: object) -> None:
        raise StoreUnavailable("connection refused by 10.0.0.1")

    web.service.store.load = gone  # type: ignore[method-assign,assignment]

    for answer in (web.client.get(TICKET), web.client.post(RESET)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "10.0.0.1" not in answer.text


def test_a_date_that_is_no_date_is_refused_by_a_sentence(web: Web) -> None:
    web.given_a_user()
    sentence = "must be a date and time with its offset (RFC 3339), such as 2026-11-23T09:42:00Z"

    in_body = web.client.post(TICKET, json={"validity": {"to": "tomorrow"}})
    in_query = web.client.get(f"{BASE}/client-123/tickets?expiresBefore=tomorrow")

    assert in_body.json()["detail"] == f"validity.to: {sentence}"
    assert in_query.json()["detail"] == f"expiresBefore: {sentence}"
