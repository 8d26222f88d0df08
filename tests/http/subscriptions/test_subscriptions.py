"""Subscriptions over HTTP, on both stores; pushed requests are tested in tests/system/test_push.py."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from application.subscriptions.records import Progress, Target, sealed_for
from domain.shared.secret import Secret
from domain.subscriptions.subscription import SubscriptionKey
from tests.support.evidence import open_store
from tests.support.fakes import NOW
from tests.support.web import BASE, RESET, Web, web_over

LIST = f"{BASE}/client-123/subscriptions"
SIEM = f"{LIST}/siem"
KEY = SubscriptionKey("client-123", "siem")
URL = "https://siem.example/hooks/t0k3n?key=s3cret"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def define(web: Web, **body: Any) -> Any:
    answer = web.client.put(SIEM, json={"url": URL, **body})
    assert answer.status_code in (200, 201), answer.text
    return answer


def target(web: Web) -> Target:
    subscribed = web.service.store.subscription(KEY)
    assert subscribed
    secret: Secret = web.service.sealer.unseal(subscribed.sealed, sealed_for(KEY))
    return Target.of_secret(secret)


def test_a_new_subscription_shows_its_secret_once(web: Web) -> None:
    new = define(web, types=["TicketRegenerated"], batchSize=50, modificationComment="for the SIEM")

    made = new.json().pop("secret")
    assert new.status_code == 201
    assert new.headers["etag"] == '"1"'
    assert base64.b64decode(made.removeprefix("whsec_"), validate=True)
    assert target(web).secrets_at(NOW) == [made]
    assert new.json() | {"secret": None} == {
        "created": "2026-11-23T09:42:00Z",
        "lastModified": "2026-11-23T09:42:00Z",
        "version": 1,
        "name": "siem",
        "method": "webhook",
        "origin": "https://siem.example",
        "types": ["TicketRegenerated"],
        "batchSize": 50,
        "modificationComment": "for the SIEM",
        "status": "enabled",
        "statusReason": None,
        "acknowledged": 0,
        "lag": 0,
        "lastSuccess": None,
        "failures": 0,
        "failingSince": None,
        "lastError": None,
        "nextTry": None,
        "secret": None,
    }
    for answer in (web.client.get(SIEM), web.client.get(LIST), define(web, types=["TicketRegenerated"])):
        assert made not in answer.text


def test_the_url_and_the_secret_are_in_no_response_and_no_event(web: Web) -> None:
    web.given_a_ticket()
    key = {"Idempotency-Key": "k"}
    answers = [
        define(web, secret=SECRET, after=0),
        web.client.post(f"{SIEM}/replay?from=1", headers=key),
        web.client.post(f"{SIEM}/resume", headers=key | {"Idempotency-Key": "l"}),
        web.client.get(SIEM),
        web.client.get(LIST),
        web.client.get(f"{BASE}/client-123/events"),
        web.client.get(f"{BASE}/client-123/history"),
        web.client.put(SIEM, json={"url": "http://t0k3n.example/"}),
        web.client.put(SIEM, json={"url": URL, "secret": "whsec_t0k3n"}),
    ]

    reported = "\n".join(answer.text for answer in answers)
    for secret in ("t0k3n", "s3cret", SECRET):
        assert secret not in reported.replace("t0k3n.example", "")
    assert [answer.status_code for answer in answers[-2:]] == [422, 400]


def test_a_new_secret_and_the_previous_one_sign_for_a_day(web: Web) -> None:
    define(web, secret=SECRET)
    newer = "whsec_" + base64.b64encode(b"n" * 24).decode()

    define(web, secret=newer)
    define(web)  # without a secret: it is kept

    assert [kept.secret for kept in target(web).secrets] == [newer, SECRET]
    assert target(web).secrets_at(NOW) == [newer, SECRET]
    assert target(web).secrets_at(NOW.replace(day=25)) == [newer]


def test_an_equal_definition_changes_nothing(web: Web) -> None:
    first = define(web, secret=SECRET)
    again = define(web, secret=SECRET)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["version"] == 1


def test_the_start_position(web: Web) -> None:
    web.given_a_ticket()
    web.client.post(RESET)

    assert define(web).json()["acknowledged"] == 3
    web.client.delete(SIEM)
    assert define(web, after=0).json()["acknowledged"] == 0
    # Once it exists, only a replay moves it.
    assert define(web, after=1).json()["acknowledged"] == 0
    assert web.client.put(f"{LIST}/other", json={"url": URL, "after": 99}).status_code == 404


def test_a_replay_moves_the_position_within_the_ledger(web: Web) -> None:
    web.given_a_ticket()
    web.client.post(RESET)
    define(web)

    back = web.client.post(f"{SIEM}/replay", params={"from": 1}, json={"modificationComment": "lost"})
    assert (back.status_code, back.json()["acknowledged"], back.json()["lag"]) == (200, 0, 4)
    assert web.client.post(f"{SIEM}/replay", params={"from": 99}).status_code == 404
    for bad in ({}, {"from": "0"}, {"from": "x"}, {"from": "-1"}):
        assert web.client.post(f"{SIEM}/replay", params=bad).status_code == 400, bad


def test_the_last_error_is_shown_and_resume_tries_immediately(web: Web) -> None:
    define(web)
    failing = Progress(
        acknowledged=0, failures=3, failing_since=NOW, last_error="responded with 500", next_try=NOW
    )
    web.service.store.save_progress([(KEY, 1, failing)])

    shown = web.client.get(SIEM).json()
    assert {
        name: shown[name] for name in ("status", "failures", "failingSince", "lastError", "nextTry", "lag")
    } == {
        "status": "enabled",
        "failures": 3,
        "failingSince": "2026-11-23T09:42:00Z",
        "lastError": "responded with 500",
        "nextTry": "2026-11-23T09:42:00Z",
        "lag": 1,
    }
    resumed = web.client.post(f"{SIEM}/resume").json()
    assert (resumed["failures"], resumed["nextTry"], resumed["version"]) == (0, None, 2)


def test_if_match_is_honoured(web: Web) -> None:
    define(web)
    stale = {"If-Match": '"7"'}

    for answer in (
        web.client.put(SIEM, json={"url": URL, "batchSize": 9}, headers=stale),
        web.client.post(f"{SIEM}/resume", headers=stale),
        web.client.post(f"{SIEM}/replay?from=1", headers=stale),
        web.client.delete(SIEM, headers=stale),
    ):
        assert answer.status_code == 412
    assert web.client.delete(SIEM, headers={"If-Match": '"1"'}).status_code == 204


def test_a_retry_with_another_position_is_another_request(web: Web) -> None:
    web.given_a_ticket()
    define(web)
    key = {"Idempotency-Key": "again"}

    first = web.client.post(f"{SIEM}/replay?from=1", headers=key)
    assert web.client.post(f"{SIEM}/replay?from=1", headers=key).content == first.content
    assert web.client.post(f"{SIEM}/replay?from=2", headers=key).status_code == 422


def test_a_missing_subscription_is_404(web: Web) -> None:
    for answer in (
        web.client.get(SIEM),
        web.client.delete(SIEM),
        web.client.post(f"{SIEM}/resume"),
        web.client.post(f"{SIEM}/replay?from=1"),
    ):
        assert answer.status_code == 404
        assert "no subscription 'siem'" in answer.json()["detail"]
    assert web.client.get(LIST).json() == {"items": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"url": ""}, 400),
        ({"url": 7}, 400),
        ({"url": URL, "types": []}, 400),
        ({"url": URL, "types": ["Nonsense"]}, 400),
        ({"url": URL, "batchSize": 0}, 400),
        ({"url": URL, "batchSize": 1001}, 400),
        ({"url": URL, "after": -1}, 400),
        ({"url": URL, "secret": "whsec_"}, 400),
        ({"url": URL, "secret": SECRET.removeprefix("whsec_")}, 400),
        ({"url": URL, "secret": SECRET[:-1]}, 400),
        ({"url": URL, "secret": "whsec_" + base64.b64encode(b"k" * 23).decode()}, 400),
        ({"url": URL, "secret": "whsec_" + base64.b64encode(b"k" * 65).decode()}, 400),
        ({"url": URL, "unknown": 1}, 400),
        ({"url": "http://siem.example/"}, 422),
        ({"url": "ftp://siem.example/"}, 422),
        ({"url": "//siem.example/"}, 422),
        ({"url": "https:///path"}, 422),
        ({"url": "https://user:pass@siem.example/"}, 422),
        ({"url": "https://siem.example/#part"}, 422),
        ({"url": "https://siem.example:port/"}, 422),
        ({"url": "https://[::1/"}, 422),
        ({"url": "https://ex\x00ample.com/"}, 422),
        ({"url": "https://siem.example\t/"}, 422),
        ({"url": "https://si em.example/"}, 422),
        ({"url": "https://\u202esiem.example/"}, 422),
        ({"url": "http://127.0.0.1:9/"}, 201),
        ({"url": "https://[2606:4700::1111]:8443/"}, 201),
    ],
)
# One store suffices: tests of both stores cover the stored values.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_bounds_of_a_subscription(web: Web, body: dict[str, Any], status: int) -> None:
    answer = web.client.put(SIEM, json=body)

    assert answer.status_code == status, answer.text


def test_each_permission_is_required(web: Web) -> None:
    define(web)
    modify, view, events = (
        f"AccessControl.{name}" for name in ("SubscriptionModify", "SubscriptionView", "EventView")
    )
    for permissions, allowed in (
        ([view], {"get", "list"}),
        ([modify], {"resume", "replay", "delete"}),
        ([modify, events], {"put", "resume", "replay", "delete"}),
        ([events], set()),
    ):
        headers = web.as_caller(permissions=permissions)
        statuses = {
            "get": web.client.get(SIEM, headers=headers),
            "list": web.client.get(LIST, headers=headers),
            "put": web.client.put(SIEM, json={"url": URL}, headers=headers),
            "resume": web.client.post(f"{SIEM}/resume", headers=headers),
            "replay": web.client.post(f"{SIEM}/replay?from=1", headers=headers),
            "delete": web.client.delete(SIEM, headers=headers),
        }
        assert {name for name, answer in statuses.items() if answer.status_code != 403} == allowed
        define(web)


def test_a_client_may_have_a_hundred(web: Web) -> None:
    for number in range(100):
        assert web.client.put(f"{LIST}/{number}", json={"url": URL}).status_code == 201

    refused = web.client.put(SIEM, json={"url": URL})

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert "TICKETS_SUBSCRIPTIONS_PER_CLIENT). Delete one first" in refused.json()["detail"]
    web.client.delete(f"{LIST}/7")
    assert web.client.put(SIEM, json={"url": URL}).status_code == 201


def test_events_of_subscriptions_are_in_the_feed_with_actor_and_reason(web: Web) -> None:
    define(web, modificationComment="for the SIEM")
    web.client.post(f"{SIEM}/replay?from=1", headers=web.as_caller(subject="anna"))
    web.client.delete(SIEM)

    found = web.client.get(f"{BASE}/client-123/events").json()

    assert [(event["type"], event["data"]["actor"]) for event in found] == [
        ("SubscriptionDefined", "helpdesk"),
        ("SubscriptionMoved", "anna"),
        ("SubscriptionDeleted", "helpdesk"),
    ]
    assert found[0]["data"]["reason"] == "for the SIEM"
    assert found[0]["data"]["changed"]["terms"]["origin"] == "https://siem.example"
    assert json.dumps(found).count("batchSize") == 1
