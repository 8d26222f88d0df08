from typing import Any

import pytest

from domain.shared.subject import Subject
from interface.http.core.problems import TooManyRequests
from interface.http.core.rate_limits import RateLimits
from tests.support.web import BASE, RESET, TICKET, USER, Web

ONE, OTHER = Subject("client-123", "user-1"), Subject("client-123", "user-2")


def test_the_limit_of_a_credential_counts_verifications_and_resets(web: Web) -> None:
    web.given_a_ticket()
    for number in range(50):
        web.client.post(
            RESET if number % 2 else f"{TICKET}/verify", json={} if number % 2 else {"ticket": "x"}
        )
    version = web.client.get(TICKET).json()["version"]

    refused = web.client.post(RESET)

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (429, "errors.tooManyRequests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert web.client.get(TICKET).json()["version"] == version


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", USER, {"email": "user-123@example.com"}),
        ("PATCH", TICKET, {"modificationComment": "long"}),
        ("DELETE", f"{BASE}/client-123/subscriptions/none", None),
        ("PUT", f"{BASE}/client-123/policies/letters", {}),
        ("POST", f"{BASE}/client-123/ssf/streams/none/events", {}),
    ],
)
def test_every_write_is_counted(web: Web, method: str, path: str, body: dict[str, Any] | None) -> None:
    counted: list[tuple[str, Subject]] = []
    limits = web.client.app.state.service.rate_limits  # type: ignore[attr-defined]
    limits.count = lambda *by: counted.append(by)
    user = "user-123" if path.startswith(USER) else ""

    web.client.request(method, path, json=body)
    web.client.get(USER)

    assert counted == [("helpdesk", Subject("client-123", user))]


def test_a_caller_is_counted_over_all_credentials() -> None:
    limits = RateLimits(per_caller="2/minute", per_client="off", per_credential="off")
    limits.count("alice", ONE)
    limits.count("alice", OTHER)

    with pytest.raises(TooManyRequests, match="TICKETS_RATE_LIMIT_PER_CALLER"):
        limits.count("alice", ONE)
    limits.count("bob", ONE)


def test_a_client_is_counted_over_all_callers() -> None:
    limits = RateLimits(per_caller="off", per_client="2/minute", per_credential="off")
    limits.count("alice", ONE)
    limits.count("bob", OTHER)

    with pytest.raises(TooManyRequests, match="TICKETS_RATE_LIMIT_PER_CLIENT"):
        limits.count("carol", ONE)
    limits.count("carol", Subject("client-456", "user-1"))


def test_a_credential_is_counted_over_all_callers() -> None:
    limits = RateLimits(per_caller="off", per_client="off", per_credential="1/minute")
    limits.count("alice", ONE)

    with pytest.raises(TooManyRequests, match="TICKETS_RATE_LIMIT_PER_CREDENTIAL"):
        limits.count("bob", ONE)
    limits.count("bob", OTHER)


def test_writes_that_name_no_user_are_not_those_of_one_credential() -> None:
    limits = RateLimits(per_caller="off", per_client="off", per_credential="1/minute")

    for _ in range(2):
        limits.count("alice", Subject("client-123", ""))


def test_an_invalid_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="couldn't parse"):
        RateLimits(per_caller="often", per_client="off", per_credential="off")
