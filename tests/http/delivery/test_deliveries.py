"""Deliveries over HTTP: status, retry and `Prefer: wait`; with real stores and a mail server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from application.shared.errors import StoreUnavailable
from interface.composition.delivery import delivery_of
from interface.composition.register import PERMISSIONS
from interface.http.core.headers import Headers, preferred_wait
from interface.http.core.permissions import CREDENTIAL_MODIFY, CREDENTIAL_VIEW
from interface.http.users.routes import USER_MODIFY
from interface.settings import Settings
from tests.support.delivering import Delivering, FakeCourier, delivering, later, never
from tests.support.evidence import open_store
from tests.support.mail_server import HANGS, OK, MailServer, mail_server
from tests.support.server import until
from tests.support.web import BASE, RESET, TICKET, USER, Web, web_over

DELIVERIES = f"{TICKET}/deliveries"
RETRY = f"{DELIVERIES}/retry"
EMAIL, NAME, STREET = "user-123@example.com", "Una User", "Bahnhofstrasse 1"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.delivery.deliver_tickets._POLL_INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr("application.delivery.deliver_tickets._STOP_TIMEOUT_SECONDS", 0.1)
    for store in ("sqlite_store", "postgres_store"):
        monkeypatch.setattr(f"interface.outbound.sql.{store}._NOTIFY_SECONDS", 0.1)


@contextmanager
def web_at(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        user = {"email": EMAIL, "name": NAME, "postalAddress": [STREET, "8001 Zürich"]}
        assert web.client.put(USER, json=user).status_code == 201
        yield web
    store.close()


@pytest.fixture
def web(sqlite_url: str, tmp_path: Path) -> Iterator[Web]:
    with web_at(sqlite_url, tmp_path) as web:
        yield web


@pytest.fixture
def any_web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    with web_at(database_url, tmp_path) as web:
        yield web


@contextmanager
def sending(web: Web, server: MailServer, tmp_path: Path) -> Iterator[Delivering]:
    """Deliver by the mail server, with the couriers of the service."""
    url: Any = f"smtp+plain://127.0.0.1:{server.port}"
    delivery = delivery_of(Settings(smtp_url=url, letter_dir=tmp_path / "letters", smtp_timeout_seconds=120))
    with delivering(web.service, delivery.couriers, close=delivery.close) as running:
        yield running


def by_mail(courier: FakeCourier) -> Any:
    return dict.fromkeys(("Email", "PDFstore"), courier)


def created(web: Web, **headers: str) -> Response:
    answer: Response = web.client.post(TICKET, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


def items(web: Web, **query: Any) -> list[Any]:
    answer = web.client.get(DELIVERIES, params=query)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    found: list[Any] = answer.json()["items"]
    return found


def statuses(web: Web, **query: Any) -> list[tuple[int, str]]:
    return [(item["ticketVersion"], item["status"]) for item in items(web, **query)]


def until_status(web: Web, *expected: str) -> list[Any]:
    until(lambda: [status for _, status in statuses(web)] == list(expected), f"the deliveries are {expected}")
    return items(web)


def retried(web: Web, **headers: str) -> list[tuple[int, str]]:
    answer = web.client.post(RETRY, headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (202, "no-store"), answer.text
    return [(item["ticketVersion"], item["status"]) for item in answer.json()["items"]]


def given_a_policy(web: Web, *methods: str) -> None:
    policy = {"defaultPolicy": True, "parameters": {"sendingMethod": list(methods)}}
    assert web.client.put(f"{BASE}/client-123/policies/own", json=policy).status_code == 201


def test_a_ticket_is_queued_retried_failed_and_sent_after_a_requested_retry(any_web: Web) -> None:
    web = any_web
    courier = FakeCourier([later("the mail server responded with 451 to DATA"), never("unknown", "550")])
    created(web)
    queued = {
        "ticketVersion": 1,
        "status": "queued",
        "time": "2026-11-23T09:42:00Z",
        "method": "Email",
        "attempt": 0,
        "recipient": "u***@e***.com",
        "answer": None,
        "lastError": None,
        "nextTry": None,
        "why": None,
    }
    assert items(web) == [queued]

    with delivering(web.service, by_mail(courier)):
        until(lambda: items(web)[0]["nextTry"], "it is postponed")
        tried = {
            **queued,
            "attempt": 1,
            "lastError": "the mail server responded with 451 to DATA",
            "nextTry": "2026-11-23T09:42:30Z",
        }
        assert items(web) == [tried]

        web.service.clock.advance(timedelta(seconds=30))
        failed = {
            **tried,
            "status": "failed",
            "time": "2026-11-23T09:42:30Z",
            "attempt": 2,
            "answer": "550",
            "lastError": "unknown",
            "nextTry": None,
        }
        assert until_status(web, "failed") == [failed]

        assert retried(web) in ([(1, "queued")], [(1, "sent")])
        sent = {**failed, "status": "sent", "attempt": 1, "answer": "250", "lastError": None}
        assert until_status(web, "sent") == [sent]


def test_an_ended_delivery_has_a_reason(web: Web) -> None:
    created(web)
    web.client.post(RESET)
    web.client.delete(TICKET)

    with delivering(web.service, by_mail(FakeCourier())):
        newest, oldest = until_status(web, "ended", "ended")

    assert (newest["why"], oldest["why"]) == ("deleted", "deleted")
    assert (newest["method"], newest["recipient"], newest["attempt"]) == (None, None, 0)


def test_no_address_ticket_or_hash_is_in_the_response_the_history_or_the_feed(web: Web) -> None:
    given_a_policy(web, "PDFstore", "Email")
    ticket = created(web).json()
    courier = FakeCourier([never()])
    with delivering(web.service, by_mail(courier)):
        until_status(web, "sent")
        web.client.post(RESET)
        until_status(web, "sent", "sent")

    answers = [
        web.client.get(DELIVERIES),
        web.client.get(f"{BASE}/client-123/history"),
        web.client.get(f"{BASE}/client-123/events"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    reported = "\n".join(answer.text for answer in answers)
    assert reported.count('"type":"TicketDelivered"') == 4
    assert ("u***@e***.com" in reported, "8*** Z***" in reported) == (True, True)
    for secret in (EMAIL, NAME, STREET, "Zürich", ticket["ticket"]):
        assert secret not in reported
    assert [clear.reveal() in reported for _, clear in web.service.sealer.sealed] == [False, False]


def test_a_delivery_does_not_change_the_version_and_the_entity_tag(any_web: Web) -> None:
    web = any_web
    created(web)
    before = web.client.post(RESET)

    with delivering(web.service, by_mail(FakeCourier([never()]))):
        until(lambda: {status for _, status in statuses(web)} <= {"sent", "failed", "ended"}, "it is over")

    after = web.client.get(TICKET)
    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    assert [item["version"] for item in web.client.get(f"{TICKET}/history").json()["items"]] == [1, 2]
    assert web.client.post(RESET, headers={"If-Match": before.headers["ETag"]}).json()["version"] == 3


def test_history_and_feed_have_each_delivery(web: Web) -> None:
    created(web)
    with delivering(web.service, by_mail(FakeCourier([never("unknown", "550")]))):
        until_status(web, "failed")
        retried(web)
        until_status(web, "sent")

    found = web.client.get(f"{BASE}/client-123/history", params={"actor": "tickets deliver"}).json()["items"]
    shown = web.client.get(f"{BASE}/client-123/events", params={"after": 1}).json()

    attempt = {"method": "Email", "attempt": 1, "recipient": "u***@e***.com"}
    assert [(item["type"], item["userExtId"], item["version"]) for item in found] == [
        ("TicketDeliveryFailed", "user-123", 1),
        ("TicketDelivered", "user-123", 3),
    ]
    assert [item["details"]["delivery"] for item in found] == [
        {**attempt, "answer": "550"},
        {**attempt, "answer": "250"},
    ]
    deliveries = [event for event in shown if event["type"].startswith("TicketDeliver")]
    assert [event["subject"] for event in deliveries] == ["user-123"] * 3
    assert [event["data"]["actor"] for event in deliveries] == [
        "tickets deliver",
        "helpdesk",
        "tickets deliver",
    ]
    assert [event["data"]["changed"] for event in deliveries] == [
        {"ticketVersion": 1, "delivery": {**attempt, "answer": "550"}},
        {"ticketVersion": 1},
        {"ticketVersion": 1, "delivery": {**attempt, "answer": "250"}},
    ]


def test_a_waiting_ticket_is_not_redirected_by_a_change_of_the_address(any_web: Web, tmp_path: Path) -> None:
    """The permission to change a user is not the permission to get a ticket."""
    created(any_web)
    thief = {"email": "thief@example.com"}
    may_modify_users = any_web.as_caller(permissions=[USER_MODIFY])
    assert any_web.client.put(USER, json=thief, headers=may_modify_users).status_code == 200
    with mail_server(lambda *_: OK) as mails, sending(any_web, mails, tmp_path):
        [item] = until_status(any_web, "failed")
        assert any_web.client.post(RETRY, headers=may_modify_users).status_code == 403
        assert mails.taken == []
        retried(any_web)
        until_status(any_web, "sent")
        assert [mail.to for mail in mails.taken] == ["thief@example.com"]

    assert (item["answer"], item["recipient"], item["attempt"]) == ("recipient-changed", None, 0)
    assert "the address changed after the ticket was minted" in item["lastError"]
    feed = any_web.client.get(f"{BASE}/client-123/events").json()
    assert [event["type"] for event in feed if event["type"] != "AccessNoted"] == [
        "UserRegistered",
        "TicketCreated",
        "UserChanged",
        "TicketDeliveryFailed",
        "TicketDeliveryRetried",
        "TicketDelivered",
    ]
    assert feed[3]["data"]["changed"]["delivery"]["answer"] == "recipient-changed"


def test_the_newest_deliveries_come_first_up_to_the_limit(web: Web) -> None:
    created(web)
    for _ in range(3):
        web.client.post(RESET)

    assert statuses(web) == [(version, "queued") for version in (4, 3, 2, 1)]
    assert statuses(web, limit=2) == [(4, "queued"), (3, "queued")]
    for limit in ("0", "1001", "-1", "x", "", "1.0", "٣"):
        answer = web.client.get(DELIVERIES, params={"limit": limit})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "errors.invalidData")
    assert web.client.get(f"{DELIVERIES}?limit=1&limit=2").status_code == 400


def test_reading_and_retrying_require_permissions(web: Web) -> None:
    created(web)
    without = {
        name: web.as_caller(permissions=[p for p in PERMISSIONS if p != name])
        for name in (CREDENTIAL_VIEW, CREDENTIAL_MODIFY)
    }
    elsewhere = web.as_caller(clients=["client-456"])

    def answers(**options: Any) -> list[tuple[int, str]]:
        found = [web.client.get(DELIVERIES, **options), web.client.post(RETRY, **options)]
        return [
            (answer.status_code, answer.json()["errors"][0]["code"] if answer.status_code >= 400 else "")
            for answer in found
        ]

    assert answers(headers={"Authorization": ""}) == [(401, "errors.unauthenticated")] * 2
    assert answers(headers=without[CREDENTIAL_VIEW]) == [(403, "errors.permissionDenied")] * 2
    assert answers(headers=without[CREDENTIAL_MODIFY]) == [(200, ""), (403, "errors.permissionDenied")]
    assert answers(headers=elsewhere) == [(403, "errors.dataroomPermissionDenied")] * 2
    assert answers(headers={"Accept": "text/html"}) == [(406, "errors.notAcceptable")] * 2


def test_a_missing_user_and_a_user_of_another_client_are_not_found(web: Web) -> None:
    created(web)

    for user in (f"{BASE}/client-123/users/unknown", f"{BASE}/client-456/users/user-123"):
        for answer in (
            web.client.get(f"{user}/ticket/deliveries"),
            web.client.post(f"{user}/ticket/deliveries/retry"),
        ):
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "errors.noRecord")


def test_without_a_ticket_there_are_no_deliveries_and_nothing_to_retry(web: Web) -> None:
    assert items(web) == []
    assert web.client.post(RETRY).status_code == 404

    created(web)
    web.client.delete(TICKET)
    assert statuses(web) == [(1, "queued")]
    assert web.client.post(RETRY).status_code == 404

    web.client.delete(USER)
    assert (web.client.get(DELIVERIES).status_code, web.client.post(RETRY).status_code) == (404, 404)


def test_a_sent_ticket_is_not_sent_again_and_an_ended_delivery_stays_ended(web: Web) -> None:
    created(web)
    web.client.post(RESET)
    courier = FakeCourier()
    with delivering(web.service, by_mail(courier)) as running:
        before = until_status(web, "sent", "ended")
        assert retried(web) == [(2, "sent"), (1, "ended")]
        running.wake()
        assert created_elsewhere(web, courier)

    assert items(web) == before
    assert courier.versions == [2, 1]  # the other user's after it


def created_elsewhere(web: Web, courier: FakeCourier) -> bool:
    """Have another user's ticket delivered, after all earlier tickets."""
    other = f"{BASE}/client-123/users/other"
    web.client.put(other, json={"email": "other@example.com"})
    assert web.client.post(f"{other}/ticket").status_code == 201
    until(lambda: len(courier.tickets) == 2, "the other's is delivered")
    return True


def test_a_retried_retry_has_no_further_effect(web: Web) -> None:
    created(web)
    courier = FakeCourier([never()])
    with delivering(web.service, by_mail(courier)):
        until_status(web, "failed")

    for headers in ({}, {}, {"Idempotency-Key": "one"}, {"Idempotency-Key": "one"}):
        assert retried(web, **headers) == [(1, "queued")]
    other = web.client.post(f"{RETRY}?limit=1", headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "errors.idempotencyKeyReused")

    with delivering(web.service, by_mail(courier)):
        until_status(web, "sent")
    # The same request as before, so it has no effect.
    assert retried(web, **{"Idempotency-Key": "one"}) == [(1, "sent")]
    assert len(courier.tickets) == 2


def test_retries_are_counted_with_the_other_writes(web: Web) -> None:
    created(web)

    answers = [web.client.post(RETRY).status_code for _ in range(49)]

    assert answers == [202] * 48 + [429]  # the user and the ticket were written before
    assert web.client.get(DELIVERIES).status_code == 200


def test_with_the_preference_to_wait_the_response_has_the_accepted_mail(any_web: Web, tmp_path: Path) -> None:
    web = any_web
    with mail_server() as server, sending(web, server, tmp_path):
        answers = [
            created(web, Prefer="wait=20"),
            web.client.post(RESET, headers={"Prefer": "wait=20"}),
            web.client.post(RESET, headers={"Prefer": "respond-async, wait=999; x=y, handling=lenient"}),
        ]

    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert [answer.headers["Preference-Applied"] for answer in answers] == ["wait=20", "wait=20", "wait=30"]
    assert {answer.headers["Ticket-Delivery"] for answer in answers} == {'sent;method="Email";answer="250"'}
    assert [mail.to for mail in server.taken] == [EMAIL] * 3
    verified = [
        web.client.post(f"{TICKET}/verify", json={"ticket": mail.ticket}).json()["verified"]
        for mail in server.taken[::-1]
    ]
    assert verified == [True, False, False]


def test_a_hanging_mail_server_delays_the_response_up_to_the_preference(web: Web, tmp_path: Path) -> None:
    created(web)

    with mail_server(lambda _step, _to: HANGS) as server, sending(web, server, tmp_path):
        begun = time.monotonic()
        answer = web.client.post(RESET, headers={"Prefer": "wait=1"})
        seconds = time.monotonic() - begun
        assert statuses(web)[0] == (2, "queued")

    assert answer.headers["Ticket-Delivery"] == 'queued;method="Email"'
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert 1 <= seconds < 60


def test_a_rejected_recipient_is_answered_as_failed(web: Web, tmp_path: Path) -> None:
    def answer_to(step: str, _to: str) -> str:
        return "550 5.1.1 user-123@example.com is unknown" if step == "RCPT" else OK

    with mail_server(answer_to) as server, sending(web, server, tmp_path):
        answer = created(web, Prefer="wait=20")

    assert answer.headers["Ticket-Delivery"] == 'failed;method="Email";answer="550"'
    assert items(web)[0]["lastError"] == "the mail server responded with 550 to RCPT TO"


def test_the_delivery_is_in_the_response_only_with_the_preference(web: Web) -> None:
    plain = created(web)
    ignored = web.client.post(RESET, headers={"Prefer": "wait=soon"})
    immediate = web.client.post(RESET, headers={"Prefer": "wait=0"})
    twice = web.client.post(RESET, headers=[("Prefer", "respond-async"), ("Prefer", "wait=0")])
    given_a_policy(web, "None")
    web.client.patch(TICKET, json={"policyExtId": "own"})
    not_sent = web.client.post(RESET, headers={"Prefer": "wait=20"})

    for answer in (plain, ignored):
        assert {"preference-applied", "ticket-delivery"} & {name.lower() for name in answer.headers} == set()
    for answer in (immediate, twice):
        assert answer.headers["Ticket-Delivery"] == 'queued;method="Email"'
        assert answer.headers["Preference-Applied"] == "wait=0"
    assert not_sent.headers["Ticket-Delivery"] == "none"


def test_a_refused_reset_does_not_wait(web: Web) -> None:
    created(web)
    web.client.patch(TICKET, json={"stateName": "disabled"})

    begun = time.monotonic()
    refused = web.client.post(RESET, headers={"Prefer": "wait=30"})

    assert refused.status_code == 422
    assert "Ticket-Delivery" not in refused.headers
    assert time.monotonic() - begun < 20


def test_a_repeated_reset_has_the_same_response_and_the_current_delivery(web: Web) -> None:
    created(web)
    headers = {"Prefer": "wait=0", "Idempotency-Key": "one"}
    courier = FakeCourier()

    first = web.client.post(RESET, headers=headers)
    with delivering(web.service, by_mail(courier)):
        second = web.client.post(RESET, headers={**headers, "Prefer": "wait=20"})

    assert (first.content, first.headers["ETag"]) == (second.content, second.headers["ETag"])
    assert first.headers["Ticket-Delivery"] == 'queued;method="Email"'
    assert second.headers["Ticket-Delivery"] == 'sent;method="Email";answer="250"'
    assert [version for version, _ in statuses(web)] == [2, 1]


def test_a_reset_succeeds_even_if_the_wait_for_its_delivery_fails(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    created(web)

    def gone(*_: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(web.service.store, "pending", gone)
    answer = web.client.post(RESET, headers={"Prefer": "wait=20"})

    assert (answer.status_code, answer.json()["resetCount"]) == (200, 1)
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (["wait=5"], 5),
        (["wait=0"], 0),
        (["Wait = 5"], 5),
        (['wait="5"'], 5),
        (["wait=5;more=1"], 5),
        (["respond-async, wait=5"], 5),
        (["respond-async", "wait=5"], 5),
        (["wait=5, wait=6"], 5),
        (["wait=5", "wait=6"], 5),
        (["wait=soon, wait=6"], None),
        (['note="a, wait=6"'], None),
        (['note="a\\", wait=6", wait=5'], 5),
        (["wait=31"], 30),
        (["wait=" + "9" * 5000], 30),
        (["wait=" + "0" * 5000 + "5"], 5),
        *(([text], None) for text in ("", ",", "wait", "wait=", "wait=-1", "wait=1.5", "wait=5s", "wait=٣")),
        *(([text], None) for text in ('wait="5', 'wait=5"', '"wait=5', "waiting=5", "return=minimal", "=5")),
    ],
)
def test_the_first_numeric_preference_to_wait_counts(prefer: list[str], seconds: int | None) -> None:
    headers = Headers([(b"prefer", text.encode()) for text in prefer])

    assert preferred_wait(headers) == seconds


def test_the_document_has_the_preference_and_its_response_header(web: Web) -> None:
    paths = web.client.get("/openapi.json").json()["paths"]
    path = f"{BASE}/{{clientExtId}}/users/{{userExtId}}/ticket"

    for operation, status in ((paths[path]["post"], "201"), (paths[f"{path}/reset"]["post"], "200")):
        assert "prefer" in {parameter["name"] for parameter in operation["parameters"]}
        assert {"Preference-Applied", "Ticket-Delivery"} <= set(operation["responses"][status]["headers"])
