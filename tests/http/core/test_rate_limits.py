import pytest

from domain.shared.subject import Subject
from interface.http.core.problems import TooManyRequests
from interface.http.core.rate_limits import RateLimits
from tests.support.web import RESET, TICKET, Web

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


def test_a_caller_is_counted_over_all_credentials() -> None:
    limits = RateLimits(per_caller="2/minute", per_credential="off")
    limits.count("alice", ONE)
    limits.count("alice", OTHER)

    with pytest.raises(TooManyRequests):
        limits.count("alice", ONE)
    limits.count("bob", ONE)


def test_a_credential_is_counted_over_all_callers() -> None:
    limits = RateLimits(per_caller="off", per_credential="1/minute")
    limits.count("alice", ONE)

    with pytest.raises(TooManyRequests):
        limits.count("bob", ONE)
    limits.count("bob", OTHER)


def test_an_invalid_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="couldn't parse"):
        RateLimits(per_caller="often", per_credential="off")
