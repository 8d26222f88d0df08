"""The requests of a client or caller that run at the same time are bounded."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Message

from application.shared.paging import PAGE_BYTES
from interface.http.core.concurrency_limit import ConcurrencyLimit
from interface.http.core.large_answers import LargeAnswers
from interface.http.core.problems import TooManyRequests
from tests.support.web import BASE, FOLLOWERS, LISTS, TICKET, Web

CLIENT = f"{BASE}/client-123"


@pytest.fixture
def limits(web: Web) -> LargeAnswers:
    answers: LargeAnswers = web.client.app.state.service.large_answers  # type: ignore[attr-defined]
    return answers


def test_a_client_a_caller_and_all_are_bounded() -> None:
    limit = ConcurrencyLimit("polls", per_client=3, per_caller=2, of_all=4, setting="TICKETS_POLLS")
    for client, caller in (("A", "x"), ("A", "x"), ("A", "y")):
        limit.begin(client, caller)

    with pytest.raises(TooManyRequests, match=r"At most 2 polls of one caller .*TICKETS_POLLS_PER_CALLER"):
        limit.begin("B", "x")
    with pytest.raises(TooManyRequests, match=r"At most 3 polls of one client .*TICKETS_POLLS_PER_CLIENT"):
        limit.begin("A", "z")
    limit.begin("B", "z")
    with pytest.raises(TooManyRequests, match="At most 4 polls run"):
        limit.begin("C", "z")
    limit.end("A", "x")
    limit.begin("B", "x")


def lists_and_streams(document: Any) -> list[tuple[str, str]]:
    """Return the operations whose responses are lists or streams by the OpenAPI document."""
    schemas = document["components"]["schemas"]

    def is_list(schema: Any) -> bool:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        fields = schema.get("properties", {})
        return (
            schema.get("type") == "array"
            or any(name in fields for name in ("items", "sets"))
            or any(map(is_list, schema.get("anyOf", ())))
        )

    return [
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for media_type, content in operation["responses"].get("200", {}).get("content", {}).items()
        if not path.startswith("/.well-known/")
        if media_type == "text/event-stream" or is_list(content["schema"])
    ]


def test_every_list_and_stream_of_the_document_is_bounded(web: Web, limits: LargeAnswers) -> None:
    web.given_a_ticket()
    found = lists_and_streams(web.client.get("/openapi.json").json())
    names = {"clientExtId": "client-123", "userExtId": "user-123", "streamId": "none", "job": "none"}
    for _ in range(LISTS):
        limits._pages.begin("client-123", "other")
    for _ in range(FOLLOWERS):
        limits._followers.begin("other", "helpdesk")

    refused = [
        web.client.request(method, path.format(**names), json={} if method == "post" else None)
        for method, path in found
    ]

    assert [answer.status_code for answer in refused] == [429] * len(found)
    assert len(found) == 15


@pytest.mark.parametrize("path", ["users", "events", "ssf/streams"])
def test_the_lists_of_a_client_at_the_same_time_are_bounded(
    web: Web, limits: LargeAnswers, path: str
) -> None:
    web.given_a_ticket()
    for _ in range(LISTS + 1):  # each has ended before the next one
        assert web.client.get(f"{CLIENT}/{path}").status_code == 200
    for _ in range(LISTS):
        limits._pages.begin("client-123", "other")

    refused = web.client.get(f"{CLIENT}/{path}")

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "TICKETS_LISTS_PER_CLIENT" in refused.json()["detail"]
    assert web.client.get(TICKET).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "events?wait=1"), ("GET", "events/stream"), ("POST", "ssf/streams/none/events")],
)
def test_the_streams_and_polls_of_a_caller_at_the_same_time_are_bounded(
    web: Web, limits: LargeAnswers, method: str, path: str
) -> None:
    for _ in range(FOLLOWERS):
        limits._followers.begin("other", "helpdesk")

    refused = web.client.request(method, f"{CLIENT}/{path}", json={} if method == "POST" else None)

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "TICKETS_FOLLOWERS_PER_CALLER" in refused.json()["detail"]
    assert web.client.get(f"{CLIENT}/events").status_code == 200


def test_a_poll_that_fails_is_counted_no_longer(web: Web) -> None:
    for _ in range(FOLLOWERS + 1):
        assert web.client.post(f"{CLIENT}/ssf/streams/none/events", json={}).status_code == 404
        assert web.client.get(f"{CLIENT}/events?wait=1&after=0").status_code == 200


def test_a_page_of_1_mib_ends_early_and_continues(web: Web) -> None:
    web.given_a_ticket()
    for number in range(300):
        web.service.modify(reason=f"{number} ".ljust(1000, "\N{GRINNING FACE}"))
    for path in ("history", "users/user-123/ticket/history"):
        pages: list[dict[str, Any]] = []
        token = None
        while token is not None or not pages:
            query = {"limit": "1000"} | ({"continuationToken": token} if token else {})
            answer = web.client.get(f"{CLIENT}/{path}", params=query)
            assert len(answer.content) < PAGE_BYTES + 2000
            pages.append(answer.json())
            token = pages[-1]["_pagination"]["continuationToken"]

        reasons = [item["reason"] for page in pages for item in page["items"] if item["reason"]]
        assert [reason.split()[0] for reason in reasons] == [str(number) for number in range(300)]
        assert len(pages) > 1


def test_a_page_of_the_feed_ends_early_and_continues(web: Web) -> None:
    web.given_a_ticket()
    for number in range(300):
        web.service.modify(reason=f"{number} ".ljust(1000, "\N{GRINNING FACE}"))
    seen = 0
    while True:
        answer = web.client.get(f"{CLIENT}/events", params={"after": seen, "limit": 1000})
        assert len(answer.content) < PAGE_BYTES + 2000
        events = answer.json()
        if not events:
            break
        assert [int(event["id"]) for event in events] == list(range(seen + 1, seen + 1 + len(events)))
        seen += len(events)

    assert seen > 300


def test_a_large_response_is_sent_in_pieces_and_is_counted_until_its_end() -> None:
    async def run() -> None:
        limits = LargeAnswers(
            ConcurrencyLimit("lists", per_client=1), ConcurrencyLimit("polls", per_client=1)
        )
        content = json.dumps("x" * 200_000).encode()
        sent: list[Message] = []

        async def respond() -> Response:
            return Response(content)

        async def send(message: Message) -> None:
            with pytest.raises(TooManyRequests):
                await limits.page("A", "x", respond)
            sent.append(message)

        response = await limits.page("A", "x", respond)
        await response({"type": "http"}, None, send)  # type: ignore[arg-type]

        start, *bodies = sent
        assert start["type"] == "http.response.start"
        assert b"".join(body["body"] for body in bodies) == content
        assert max(len(body["body"]) for body in bodies) <= 64 * 1024
        assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
        await limits.page("A", "x", respond)

    asyncio.run(run())


def test_the_pages_of_one_client_leave_room_for_another() -> None:
    async def run() -> None:
        limits = LargeAnswers(
            ConcurrencyLimit("lists", per_client=64), ConcurrencyLimit("polls", per_client=64)
        )
        reading: list[str] = []
        released = asyncio.Event()

        async def read(client: str) -> None:
            async def respond() -> Response:
                reading.append(client)
                await released.wait()
                return Response()

            await limits.page(client, "caller", respond)

        async with asyncio.TaskGroup() as tasks:
            for client in ("A",) * 10 + tuple("BCDEF"):
                tasks.create_task(read(client))
            await asyncio.sleep(0)
            assert reading == ["A", "A", "B", "C", "D", "E"]
            released.set()
        assert Counter(reading) == {"A": 10} | dict.fromkeys("BCDEF", 1)

    asyncio.run(run())
