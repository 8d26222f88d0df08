"""Bulk resets over HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from domain.bulk.bulk_job import MAX_USERS, JobKey
from interface.http.bulk.schemas import BODY_LIMIT_BYTES
from tests.support.bulk import CLIENT, given_users, processed
from tests.support.web import BASE, Web

RESETS = f"{BASE}/{CLIENT}/bulk/resets"
Response = Any


def start(web: Web, **body: Any) -> Response:
    return web.client.post(RESETS, json=body)


def upload(web: Web, content: str, media_type: str = "text/csv", **options: Any) -> Response:
    return web.client.post(RESETS, content=content, params=options, headers={"Content-Type": media_type})


def job_of(response: Response) -> Any:
    assert response.status_code == 202, response.text
    found = response.json()
    assert response.headers["location"] == f"{RESETS}/{found['job']}"
    return found


def items_of(web: Web, job: str, **query: Any) -> Any:
    response = web.client.get(f"{RESETS}/{job}/items", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def message_of(response: Response, status: int) -> str:
    assert response.status_code == status, response.text
    messages: list[str] = [error["message"] for error in response.json()["errors"]]
    return " ".join(messages)


def test_a_job_is_started_for_ids(web: Web) -> None:
    given_users(web.service, 2)

    job = job_of(start(web, userExtIds=["user-1", "user-2", "user-1"], modificationComment="leak", pace=200))

    assert (job["status"], job["count"], job["pending"], job["pace"]) == ("running", 2, 2, 200)
    assert (job["modificationComment"], job["secondsLeft"], job["rate"]) == ("leak", 0, None)
    assert web.client.get(f"{RESETS}/{job['job']}").json() == job
    items = items_of(web, job["job"])["items"]
    assert [(item["number"], item["userExtId"], item["outcome"]) for item in items] == [
        (1, "user-1", "pending"),
        (2, "user-2", "pending"),
    ]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        ("name;userExtId\nA;user-1\n\nB;user-2\n", "text/csv"),
        ("extId\r\nuser-1\r\nuser-2\r\n", "text/csv; charset=utf-8"),
        ('"user-1"\n{"userExtId":"user-2"}\n\n"user-1"', "application/x-ndjson"),
    ],
)
def test_a_job_is_started_for_a_file(web: Web, content: str, media_type: str) -> None:
    job = job_of(upload(web, content, media_type, pace=5, modificationComment="leak", expectedCount=2))

    assert (job["count"], job["pace"], job["modificationComment"]) == (2, 5, "leak")
    assert [item["userExtId"] for item in items_of(web, job["job"])["items"]] == ["user-1", "user-2"]


@pytest.mark.parametrize(
    ("content", "media_type", "message"),
    [
        ("userExtId\nuser-1\n\x01\n", "text/csv", "line 3: userExtId has a control character"),
        ("name\nuser-1\n", "text/csv", "line 1: the header must have one column userExtId."),
        ("", "text/csv", "line 1: the header"),
        ("userExtId,extId\na,b\n", "text/csv", "line 1: the header must have one"),
        ("userExtId,a\nuser-1\n", "text/csv", "line 2: 1 fields instead of 2."),
        ('userExtId\n"user-1\n', "text/csv", "line 2: a quotation mark is not closed"),
        ('"user-1"\nuser-2\n', "application/x-ndjson", "line 2: not an id in quotation marks"),
        ('"user-1"\n{"id":"a"}\n', "application/x-ndjson", "line 2: not an id"),
        ('\n\n""\n', "application/x-ndjson", "line 3: userExtId has 0 characters"),
        ("[" * 2000, "application/x-ndjson", "line 1: not an id"),
    ],
)
def test_a_fault_of_a_file_names_its_line(web: Web, content: str, media_type: str, message: str) -> None:
    assert message in message_of(upload(web, content, media_type), 400)


def test_a_file_is_bounded(web: Web) -> None:
    line = "userExtId\n" + "".join(f"{number}\n" for number in range(MAX_USERS + 1))

    assert "100000 users at most" in message_of(upload(web, line), 400)
    assert message_of(upload(web, "x" * (BODY_LIMIT_BYTES + 1)), 413)
    assert message_of(web.client.post(f"{RESETS}/x/pause", content=b" " * 20_000), 413)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "give either userExtIds or filter"),
        ({"userExtIds": ["a"], "filter": {}}, "give either userExtIds or filter"),
        ({"userExtIds": []}, "userExtIds: "),
        ({"userExtIds": ["a"], "pace": 0}, "pace: "),
        ({"userExtIds": ["a"], "more": 1}, "more: "),
        ({"filter": {"stateName": "lost"}}, "filter.stateName: "),
    ],
)
def test_a_malformed_body_is_refused(web: Web, body: Any, message: str) -> None:
    assert message in message_of(start(web, **body), 400)


def test_another_media_type_is_refused(web: Web) -> None:
    assert message_of(upload(web, "user-1", "text/plain"), 415)


def test_the_users_of_a_filter_are_frozen(web: Web) -> None:
    web.service.define("letters")
    given_users(web.service, 2, policy_ext_id="letters")
    job = job_of(start(web, filter={"policyExtId": "letters", "stateName": "active"}, expectedCount=2))

    given_users_later = web.client.put(f"{BASE}/{CLIENT}/users/user-3", json={"email": "u@example.com"})
    assert given_users_later.is_success
    created = web.client.post(f"{BASE}/{CLIENT}/users/user-3/ticket", json={"policyExtId": "letters"})

    assert created.is_success
    assert [item["userExtId"] for item in items_of(web, job["job"])["items"]] == ["user-1", "user-2"]


def test_another_number_of_users_than_expected_is_a_conflict(web: Web) -> None:
    given_users(web.service, 2)
    size = web.service.store.size(CLIENT)

    for dry_run in (False, True):
        response = start(web, filter={}, expectedCount=3, dryRun=dry_run)
        assert message_of(response, 409) == "The job would have 2 users, not 3."
        assert response.json()["errors"][0]["code"] == "errors.conflict"
    assert "no users" in message_of(start(web, filter={"policyExtId": "none"}), 422)
    events = [web.service.store.event(entry).TOPIC for entry in web.service.store.entries(CLIENT, size, 10)]
    assert set(events) == {"AccessNoted"}


def test_a_dry_run_reports_the_refusals_and_starts_nothing(web: Web) -> None:
    given_users(web.service, 3)
    web.client.patch(f"{BASE}/{CLIENT}/users/user-2/ticket", json={"stateName": "disabled"})
    web.client.patch(f"{BASE}/{CLIENT}/users/user-3/ticket", json={"stateName": "archived"})
    size = web.service.store.size(CLIENT)

    response = start(web, userExtIds=["user-1", "user-2", "user-3", "unknown"], dryRun=True)

    assert response.status_code == 200, response.text
    report = response.json()
    assert (report["count"], report["refused"]) == (4, 3)
    assert report["refusals"] == {"CredentialDisabled": 1, "CredentialArchived": 1, "UserUnknown": 1}
    assert [(item["number"], item["reason"], item["code"]) for item in report["items"]] == [
        (2, "CredentialDisabled", "errors.policyViolation"),
        (3, "CredentialArchived", "errors.policyViolation"),
        (4, "UserUnknown", "errors.noRecord"),
    ]
    assert web.service.store.size(CLIENT) == size
    assert web.service.store.running_bulk_jobs() == []


def test_a_retry_with_the_same_key_returns_the_same_job(web: Web) -> None:
    given_users(web.service, 2)
    key = {"Idempotency-Key": "one"}
    body = {"filter": {}, "expectedCount": 2}
    first = web.client.post(RESETS, json=body, headers=key)
    web.client.put(f"{BASE}/{CLIENT}/users/user-3", json={"email": "u@example.com"})
    web.client.post(f"{BASE}/{CLIENT}/users/user-3/ticket")

    again = web.client.post(RESETS, json=body, headers=key)

    assert (again.status_code, again.text) == (202, first.text)
    assert again.headers["location"] == first.headers["location"]
    assert len(web.service.store.running_bulk_jobs()) == 1
    assert message_of(web.client.post(RESETS, json={"filter": {}}, headers=key), 422)


def test_a_job_is_paused_resumed_and_cancelled(web: Web) -> None:
    job = job_of(start(web, userExtIds=["user-1"]))

    def control(action: str, **headers: str) -> Response:
        return web.client.post(f"{RESETS}/{job['job']}/{action}", headers=headers)

    paused = control("pause")
    assert (paused.json()["status"], paused.headers["etag"]) == ("paused", '"2"')
    assert control("resume", **{"If-Match": '"1"'}).status_code == 412
    assert control("resume", **{"If-Match": '"2"'}).json()["status"] == "running"
    cancelled = control("cancel").json()
    assert (cancelled["status"], cancelled["secondsLeft"], cancelled["pending"]) == ("cancelled", None, 1)
    for action in ("pause", "resume"):
        assert message_of(control(action), 409) == "The job is cancelled."
    assert web.client.get(f"{RESETS}/other").status_code == 404
    assert web.client.get(f"{RESETS}/other/items").status_code == 404
    assert web.client.post(f"{RESETS}/other/pause").status_code == 404


def test_the_items_are_pages_as_json_and_csv(web: Web) -> None:
    given_users(web.service, 2)
    job = job_of(start(web, userExtIds=["user-1", 'un"known', "user-2"]))["job"]
    processed(web.service, JobKey(CLIENT, job))

    page = items_of(web, job, limit=2)
    assert [item["outcome"] for item in page["items"]] == ["reset", "refused"]
    token = page["_pagination"]["continuationToken"]
    last = items_of(web, job, limit=2, continuationToken=token)
    assert [item["userExtId"] for item in last["items"]] == ["user-2"]
    assert last["_pagination"]["continuationToken"] is None
    [refused] = items_of(web, job, outcome="refused")["items"]
    assert (refused["reason"], refused["code"], refused["version"]) == (
        "UserUnknown",
        "errors.noRecord",
        None,
    )
    assert [item["number"] for item in items_of(web, job, outcome="reset")["items"]] == [1, 3]
    assert items_of(web, job, outcome="pending")["items"] == []

    url, lines = f"{RESETS}/{job}/items?limit=2", []
    while url:
        response = web.client.get(url, headers={"Accept": "text/csv"})
        assert response.headers["content-type"].startswith("text/csv")
        lines += response.text.splitlines()
        url = response.links.get("next", {}).get("url", "")
    assert lines[0] == "number,userExtId,outcome,reason,code,version,time"
    assert [line.rpartition(",")[0] for line in lines if not line.startswith("number")] == [
        "1,user-1,reset,,,2",
        '2,"un""known",refused,UserUnknown,errors.noRecord,',
        "3,user-2,reset,,,2",
    ]
    assert web.client.get(f"{RESETS}/{job}/items?outcome=lost").status_code == 400


def test_the_users_in_a_page_are_in_the_access_log(web: Web) -> None:
    job = job_of(start(web, userExtIds=["user-1", "user-2"]))
    items_of(web, job["job"])

    web.service.clock.advance(timedelta(minutes=2))
    log = f"{BASE}/{CLIENT}/history"
    for _ in range(2):  # the first one records the reads that were counted before
        found = web.client.get(log, params={"type": "AccessNoted"}).json()["items"]

    [read] = [item["details"] for item in found if item["details"]["operation"] == "listBulkItems"]
    assert read["users"] == ["user-1", "user-2"]


def test_a_client_may_have_twenty_unfinished_jobs(web: Web) -> None:
    jobs = [job_of(start(web, userExtIds=["user-1"]))["job"] for _ in range(20)]

    assert "20 unfinished" in message_of(start(web, userExtIds=["user-1"]), 429)
    web.client.post(f"{RESETS}/{jobs[0]}/cancel")

    assert start(web, userExtIds=["user-1"]).status_code == 202


def test_a_job_requires_its_permission(web: Web) -> None:
    headers = web.as_caller(permissions=["AccessControl.CredentialModify"])

    assert web.client.post(RESETS, json={"userExtIds": ["a"]}, headers=headers).status_code == 403
