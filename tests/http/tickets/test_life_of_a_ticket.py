from datetime import timedelta

import pytest
from inline_snapshot import snapshot

from interface.composition.register import PERMISSIONS
from tests.support.web import BASE, RESET, TICKET, USER, Web

VERIFY = f"{TICKET}/verify"
POLICY = f"{BASE}/client-123/policies/letters"


def code(answer: object) -> str:
    return str(answer.json()["errors"][0]["code"])  # type: ignore[attr-defined]


def test_a_patch_changes_the_named_fields_only(web: Web) -> None:
    web.given_a_ticket(modificationComment="joined")

    answer = web.client.patch(TICKET, json={"stateName": "disabled", "version": 1})

    body = answer.json()
    assert (answer.status_code, answer.headers["ETag"], body["version"]) == (200, '"2"', 2)
    assert (body["stateName"], body["stateChangeReason"]) == ("disabled", "changed-by-admin")
    assert body["modificationComment"] == "joined"
    assert code(web.client.post(RESET)) == "errors.policyViolation"


def test_a_patch_with_a_stale_version_is_409_and_with_a_stale_tag_412(web: Web) -> None:
    web.given_a_ticket()

    stale = web.client.patch(TICKET, json={"version": 2, "stateName": "disabled"})
    failed = web.client.patch(TICKET, json={"stateName": "disabled"}, headers={"If-Match": '"2"'})

    assert (stale.status_code, code(stale)) == (409, "errors.optimisticLockingFailure")
    assert (failed.status_code, code(failed)) == (412, "errors.optimisticLockingFailure")


def test_a_patch_is_idempotent_by_key(web: Web) -> None:
    web.given_a_ticket()
    key = {"Idempotency-Key": "key"}

    answers = [web.client.patch(TICKET, json={"stateName": "disabled"}, headers=key) for _ in range(2)]

    assert answers[0].content == answers[1].content
    assert web.client.get(TICKET).json()["version"] == 2


def test_a_deleted_ticket_is_not_found_until_the_next_one(web: Web) -> None:
    web.given_a_ticket()

    assert web.client.delete(TICKET, headers={"If-Match": '"7"'}).status_code == 412
    answer = web.client.delete(TICKET)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [web.client.request(m, TICKET).status_code for m in ("GET", "DELETE")] == [404, 404]
    assert web.client.post(TICKET).json()["version"] == 3


def test_a_ticket_verifies_locks_and_unlocks_by_itself(web: Web) -> None:
    web.given_a_ticket()
    right = {"ticket": web.service.newest().reveal()}

    answers = [web.client.post(VERIFY, json={"ticket": "wrong"}).json() for _ in range(3)]

    assert answers == snapshot(
        [
            {"verified": False, "reason": "wrong-ticket", "lockedUntil": None},
            {"verified": False, "reason": "wrong-ticket", "lockedUntil": "2026-11-23T09:43:00Z"},
            {"verified": False, "reason": "locked", "lockedUntil": "2026-11-23T09:43:00Z"},
        ]
    )
    locked = web.client.get(TICKET)
    assert (locked.json()["stateName"], locked.headers["ETag"]) == ("tmp-locked", '"3"')
    web.service.clock.advance(timedelta(minutes=1))
    unlocked = web.client.get(TICKET, headers={"If-None-Match": '"3"'})
    assert (unlocked.status_code, unlocked.json()["stateName"]) == (200, "active")
    assert unlocked.headers["ETag"] != locked.headers["ETag"]
    assert web.client.get(TICKET, headers={"If-None-Match": unlocked.headers["ETag"]}).status_code == 304
    verified = web.client.post(VERIFY, json=right, headers={"If-Match": unlocked.headers["ETag"]})
    assert verified.json() == {"verified": True, "reason": None, "lockedUntil": None}
    assert "ETag" not in verified.headers


def test_the_tag_of_a_version_still_matches_after_a_lock_has_expired(web: Web) -> None:
    web.given_a_ticket()
    for _ in range(2):
        web.client.post(VERIFY, json={"ticket": "wrong"})
    web.service.clock.advance(timedelta(minutes=1))

    assert web.client.post(RESET, headers={"If-Match": '"3"'}).status_code == 200


def test_without_the_permission_to_verify_a_user_is_not_disclosed(web: Web) -> None:
    web.given_a_ticket()
    without = web.as_caller(permissions=["AccessControl.CredentialView"])

    answers = [
        web.client.post(path, json={"ticket": "x"}, headers=without)
        for path in (VERIFY, VERIFY.replace("user-123", "unknown"))
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].content == answers[1].content


def test_the_presented_ticket_is_in_no_response_and_no_error(web: Web) -> None:
    web.given_a_ticket()

    for body in (
        {"ticket": "secret-one" * 200},
        {"ticket": ["secret-one"]},
        {"ticket": "secret-one", "x": 1},
    ):
        answer = web.client.post(VERIFY, json=body)
        assert (answer.status_code, "secret-one" in answer.text) == (400, False)


def test_the_complete_response_to_defining_a_policy(web: Web) -> None:
    answer = web.client.put(
        POLICY, json={"parameters": {"ticketLength": 30, "sendingMethod": ["PDFstore", "Email"]}}
    )

    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    assert answer.json() == snapshot(
        {
            "created": "2026-11-23T09:42:00Z",
            "lastModified": "2026-11-23T09:42:00Z",
            "version": 1,
            "extId": "letters",
            "policyType": "TicketPolicy",
            "defaultPolicy": False,
            "modificationComment": None,
            "parameters": {
                "ticketLength": 30,
                "ticketCharacterSet": "23456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ",
                "ticketCaseInsensitive": False,
                "ticketGroupSize": 4,
                "hashAlgorithm": "SSHA256",
                "credentialLifetime": 432000000,
                "maxCredFailureCount": 3,
                "tmpLockingThreshold": 2,
                "tmpLockingDuration": 60000,
                "reusable": False,
                "sendingMethod": ["PDFstore", "Email"],
                "closeToExpirationThreshold": 10,
                "maxDailyDeliveryCount": None,
                "admittedHashes": [],
            },
        }
    )
    assert web.client.get(POLICY).json() == answer.json()
    assert web.client.get(f"{BASE}/client-123/policies").json() == {"items": [answer.json()]}


def test_a_policy_is_refused_with_one_message_per_fault(web: Web) -> None:
    answer = web.client.put(POLICY, json={"parameters": {"ticketLength": 8, "credentialLifetime": 0}})

    assert answer.status_code == 422
    assert answer.json()["errors"] == snapshot(
        [
            {
                "code": "errors.policyViolation",
                "message": "a ticket would have 47 bits; below 112 hashAlgorithm must be ARGON2ID (ASVS 6.5.2)",
            },
            {"code": "errors.policyViolation", "message": "credentialLifetime must be 1 ms to 100 years"},
        ]
    )
    assert web.client.get(POLICY).status_code == 404


def test_the_daily_limit_is_a_429_that_a_supervisor_exceeds(web: Web) -> None:
    web.client.put(POLICY, json={"parameters": {"maxDailyDeliveryCount": 2}})
    web.given_a_ticket(policyExtId="letters")
    desk = web.as_caller(permissions=["AccessControl.CredentialModify", "AccessControl.CredentialView"])
    assert web.client.post(RESET, headers=desk).status_code == 200

    assert web.client.post(f"{TICKET}/deliveries/retry", headers=desk).status_code == 202
    refused = web.client.post(RESET, headers=desk)
    assert (refused.status_code, code(refused)) == (429, "errors.tooManyRequests")
    assert "At most 2 tickets" in refused.text
    assert "2026-11-24T00:00:00Z" in refused.text
    assert timedelta(seconds=int(refused.headers["Retry-After"])) == timedelta(hours=14, minutes=18)
    assert web.client.post(RESET).status_code == 200


@pytest.mark.parametrize("count", [0, -2, 10_001, "20", 2.5, True])
def test_an_impossible_daily_limit_is_refused(web: Web, count: object) -> None:
    answer = web.client.put(POLICY, json={"parameters": {"maxDailyDeliveryCount": count}})

    assert answer.status_code == (422 if type(count) is int else 400)
    assert "maxDailyDeliveryCount" in answer.text


def test_a_policy_honours_if_match(web: Web) -> None:
    web.client.put(POLICY, json={})

    assert (
        web.client.put(POLICY, json={"defaultPolicy": True}, headers={"If-Match": '"7"'}).status_code == 412
    )
    assert (
        web.client.put(POLICY, json={"defaultPolicy": True}, headers={"If-Match": '"1"'}).status_code == 200
    )


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("PATCH", TICKET, "AccessControl.CredentialModify"),
        ("PATCH", TICKET, "AccessControl.CredentialView"),
        ("DELETE", TICKET, "AccessControl.CredentialDelete"),
        ("POST", VERIFY, "AccessControl.CredentialVerify"),
        ("POST", TICKET, "AccessControl.CredentialCreate"),
        ("POST", RESET, "AccessControl.CredentialModify"),
        ("POST", RESET, "AccessControl.CredentialView"),
        ("GET", TICKET, "AccessControl.CredentialView"),
        ("PUT", POLICY, "AccessControl.PolicyModify"),
        ("GET", POLICY, "AccessControl.PolicyView"),
        ("PUT", USER, "AccessControl.UserModify"),
        ("GET", USER, "AccessControl.UserView"),
    ],
)
def test_every_operation_needs_each_of_its_permissions(
    web: Web, method: str, path: str, permission: str
) -> None:
    everything_else = [held for held in PERMISSIONS if held != permission]

    answer = web.client.request(method, path, headers=web.as_caller(permissions=everything_else))

    assert (answer.status_code, code(answer)) == (403, "errors.permissionDenied")
    assert permission in answer.text
