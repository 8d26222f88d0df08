from typing import Any

import pytest

from tests.support.web import BASE, TICKET, USER, Web

USERS = f"{BASE}/client-123/users"
TICKETS = f"{BASE}/client-123/tickets"


def given_users(web: Web, count: int) -> None:
    for number in range(count):
        web.client.put(f"{USERS}/user-{number}", json={"email": f"user-{number}@example.com"})
        web.client.post(f"{USERS}/user-{number}/ticket")


def pages(web: Web, path: str, **parameters: Any) -> list[list[str]]:
    found: list[list[str]] = []
    token: str | None = None
    while True:
        more: dict[str, str] = {"continuationToken": token} if token else {}
        answer = web.client.get(path, params={**parameters, **more}).json()
        found.append([item.get("userExtId") or item["extId"] for item in answer["items"]])
        token = answer["_pagination"]["continuationToken"]
        if token is None:
            return found


@pytest.mark.parametrize("path", [USERS, TICKETS])
def test_pages_continue_by_their_token(web: Web, path: str) -> None:
    given_users(web, 5)

    assert pages(web, path, limit=2) == [["user-0", "user-1"], ["user-2", "user-3"], ["user-4"]]
    assert web.client.get(path).json()["_pagination"] == {"continuationToken": None, "limit": 50}


def test_tickets_are_found_by_their_state(web: Web) -> None:
    given_users(web, 3)
    web.client.patch(f"{USERS}/user-1/ticket", json={"stateName": "disabled"})

    assert pages(web, TICKETS, stateName="disabled") == [["user-1"]]
    assert pages(web, TICKETS, stateName="active", expiresBefore="2026-11-29T00:00:00Z") == [
        ["user-0", "user-2"]
    ]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=1&limit=2",
        "stateName=gone",
        "stateName=",
        "expiresBefore=yesterday",
        "expiresBefore=1700000000",
        "lastModifiedAfter=2026-11-23",
        "policyExtId=",
        "policyExtId=" + "x" * 51,
        "continuationToken=nonsense",
        "continuationToken=W10=",
        "continuationToken=WzEsMl0=",
        "continuationToken=%00",
    ],
)
def test_a_wrong_query_is_malformed(web: Web, query: str) -> None:
    answer = web.client.get(f"{TICKETS}?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "errors.invalidData")


def test_an_erased_user_and_ticket_are_not_found(web: Web) -> None:
    web.given_a_ticket()

    assert web.client.delete(USER, headers={"If-Match": '"9"'}).status_code == 412
    assert web.client.delete(USER).status_code == 204

    assert [web.client.get(path).status_code for path in (USER, TICKET)] == [404, 404]
    assert web.client.delete(USER).status_code == 404
