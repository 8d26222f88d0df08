"""Webhooks from a real server to a real receiver, over real sockets."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from standardwebhooks import Webhook

from tests.support.command import command
from tests.support.receiver import HANGS, OK, Received, answer, receiving
from tests.support.server import NO_DELIVERY, Server, serving, until

QUICK = {
    **NO_DELIVERY,
    "TICKETS_PUSH_PRIVATE_HOSTS": "127.0.0.1",
    "TICKETS_PUSH_RETRY_SECONDS": "0.05",
    "TICKETS_PUSH_LONGEST_WAIT_SECONDS": "0.2",
    # Long, so that a receiver delayed by a hanging one would miss its time limit.
    "TICKETS_PUSH_TIMEOUT_SECONDS": "120",
}
USER = "/client-123/users/user-0"
SUBSCRIPTIONS = "/client-123/subscriptions"


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, database_url, **QUICK) as server:
        given_events(server, 4)
        yield server


def given_events(server: Server, count: int) -> None:
    """Register a user, create the ticket and reset it: `count` events."""
    server.client.put(USER, json={"email": "u@example.com"}).raise_for_status()
    server.client.post(f"{USER}/ticket").raise_for_status()
    reset(server, count - 2)


def reset(server: Server, count: int) -> None:
    for _ in range(count):
        server.client.post(f"{USER}/ticket/reset").raise_for_status()


def define(server: Server, name: str, url: str, **body: Any) -> Any:
    answered = server.client.put(f"{SUBSCRIPTIONS}/{name}", json={"url": url, "after": 0, **body})
    return answered.raise_for_status().json()


def state(server: Server, name: str) -> Any:
    return server.client.get(f"{SUBSCRIPTIONS}/{name}").raise_for_status().json()


def verified(request: Received, secret: str) -> Any:
    return Webhook(secret).verify(request.body, request.headers)


def test_each_event_is_a_signed_request_in_order_and_the_position_is_shown(server: Server) -> None:
    with receiving() as receiver:
        secret = define(server, "siem", receiver.url("/hook"))["secret"]
        until(lambda: len(receiver.received) == 5, "earlier events are sent")
        reset(server, 1)
        until(lambda: len(receiver.received) == 6, "the new event is sent")
        until(lambda: state(server, "siem")["lag"] == 0, "the position is kept")

    assert receiver.positions("/hook") == [1, 2, 3, 4, 5, 6]
    assert [verified(request, secret)["id"] for request in receiver.received] == list("123456")
    assert [request.headers["webhook-id"] for request in receiver.received[:2]] == [
        "client-123:1",
        "client-123:2",
    ]
    assert {request.headers["Content-Type"] for request in receiver.received} == {
        "application/cloudevents+json"
    }
    feed = server.client.get("/client-123/events").json()
    assert [request.events[0] for request in receiver.received] == feed
    assert state(server, "siem")["acknowledged"] == 6


def test_several_events_are_sent_as_batches_of_the_requested_types(server: Server) -> None:
    reset(server, 30)
    with receiving() as receiver:
        define(server, "siem", receiver.url("/hook"), batchSize=10, types=["TicketRegenerated"])
        until(lambda: len(receiver.positions("/hook")) == 32, "all are sent")
        until(lambda: state(server, "siem")["lag"] == 0, "other types are skipped")

    sizes = [len(request.positions) for request in receiver.received]
    events = [event for request in receiver.received for event in request.events]
    assert max(sizes) == 10
    assert [event["previous"] for event in events] == ["0", *(event["id"] for event in events[:-1])]
    assert {event["type"] for event in events} == {"TicketRegenerated"}
    assert receiver.received[0].headers["webhook-id"] == "client-123:3-12"
    assert receiver.received[0].headers["Content-Type"] == "application/cloudevents-batch+json"


def test_a_rejected_request_is_repeated_under_the_same_id_before_later_events(server: Server) -> None:
    tries = iter([answer(500), answer(503, "Retry-After: 0"), answer(302, "Location: /"), OK])
    with receiving(lambda request: next(tries, OK) if request.positions == [2] else OK) as receiver:
        define(server, "siem", receiver.url("/hook"))
        until(lambda: receiver.positions("/hook")[-1:] == [5], "all are sent")

    assert receiver.positions("/hook") == [1, 2, 2, 2, 2, 3, 4, 5]
    assert len({request.headers["webhook-id"] for request in receiver.received[1:5]}) == 1


def test_the_last_error_is_shown(server: Server) -> None:
    with receiving(lambda _: answer(500)) as receiver:
        define(server, "siem", receiver.url("/hook"))
        until(lambda: state(server, "siem")["failures"] > 1, "it is tried again")
        shown = state(server, "siem")

    assert (shown["lastError"], shown["status"], shown["acknowledged"]) == (
        "responded with 500",
        "enabled",
        0,
    )
    assert shown["failingSince"] <= shown["nextTry"]
    assert shown["lag"] == 5


def test_gone_is_parked_immediately_until_it_is_resumed(server: Server) -> None:
    gone = [True]
    with receiving(lambda request: answer(410) if gone[0] and request.positions == [2] else OK) as receiver:
        define(server, "siem", receiver.url("/hook"))
        until(lambda: state(server, "siem")["status"] == "parked", "it is parked")
        assert state(server, "siem")["statusReason"] == "responded with 410"
        gone[0] = False
        server.client.post(f"{SUBSCRIPTIONS}/siem/resume").raise_for_status()
        until(lambda: 5 in receiver.positions("/hook"), "all are sent")

    assert receiver.positions("/hook")[:6] == [1, 2, 2, 3, 4, 5]
    events = server.client.get("/client-123/events?types=SubscriptionStatusChanged").json()
    assert [(event["data"]["actor"], event["data"]["changed"]["status"]) for event in events] == [
        ("tickets push", "parked"),
        ("helpdesk", "enabled"),
    ]


def test_a_replay_sends_again(server: Server) -> None:
    with receiving() as receiver:
        define(server, "siem", receiver.url("/hook"))
        until(lambda: len(receiver.received) == 5, "all are sent")
        server.client.post(f"{SUBSCRIPTIONS}/siem/replay?from=3").raise_for_status()
        # The event of the replay itself may be sent before the replay begins.
        until(lambda: receiver.positions("/hook")[5:].count(5) == 1, "the replay is sent")
        until(lambda: receiver.positions("/hook")[-1] == 6, "the later event is sent")

    assert receiver.positions("/hook")[-4:] == [3, 4, 5, 6]
    assert receiver.positions("/hook")[:-4] in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])


def test_a_new_secret_and_the_previous_one_both_sign(server: Server) -> None:
    with receiving() as receiver:
        first = define(server, "siem", receiver.url("/hook"))["secret"]
        second = define(server, "other", receiver.url("/other"))["secret"]
        define(server, "siem", receiver.url("/hook"), secret=second)

        def signed_twice() -> bool:
            reset(server, 1)
            return any(" " in request.headers["webhook-signature"] for request in receiver.at("/hook")[-1:])

        until(signed_twice, "the new secret is in use")

    newest = receiver.at("/hook")[-1]
    assert verified(newest, first) == verified(newest, second)


def test_bad_receivers_do_not_delay_others(server: Server) -> None:
    behaviours = {
        "/hangs": HANGS,
        "/redirects": answer(301, "Location: http://127.0.0.1:1/"),
        "/fails": answer(500),
        "/lies": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nlie",
        "/floods": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 200_000,
        "/nonsense": b"\x00\r\n\r\n",
    }
    with receiving(lambda request: behaviours.get(request.path, OK)) as receiver:
        for path in behaviours:
            for number in range(3):
                define(server, f"{path[1:]}-{number}", receiver.url(path))
        define(server, "unknown", "https://nowhere.invalid/")
        define(server, "private", "https://10.0.0.1/")
        until(lambda: state(server, "fails-2")["failures"], "the bad ones are tried")
        began = time.monotonic()
        define(server, "good", receiver.url("/good"))
        size = len(server.client.get("/client-123/events?limit=1000").json())
        until(lambda: size in receiver.positions("/good"), "the good one gets all")
        took = time.monotonic() - began
        until(lambda: state(server, "redirects-0")["lastError"], "redirects are reported")
        until(lambda: state(server, "private")["lastError"], "a private host is reported")
        shown = {name: state(server, name) for name in ("redirects-0", "private", "unknown", "hangs-0")}

    assert took < 60
    assert receiver.positions("/good")[:size] == list(range(1, size + 1))
    # A 2xx counts, even with a bad body.
    assert len(set(receiver.positions("/lies"))) == len(set(receiver.positions("/floods"))) == size
    assert "redirects are not followed" in shown["redirects-0"]["lastError"]
    assert "private address" in shown["private"]["lastError"]
    assert shown["hangs-0"]["acknowledged"] == 0


def test_a_subscription_that_fails_for_too_long_is_parked(sqlite_url: str, tmp_path: Path) -> None:
    quick = QUICK | {"TICKETS_PUSH_GIVE_UP_HOURS": str(1 / 3600)}
    with serving(tmp_path, sqlite_url, **quick) as server, receiving(lambda _: answer(500)) as receiver:
        given_events(server, 2)
        define(server, "siem", receiver.url("/hook"))
        until(lambda: state(server, "siem")["status"] == "parked", "it is parked")
        shown = state(server, "siem")
        tried = len(receiver.received)

    assert shown["statusReason"].partition(" ")[2].startswith("failures since ")
    assert "responded with 500" in shown["statusReason"]
    assert 4 < tried < 30


def test_another_process_takes_over_in_seconds(database_url: str, tmp_path: Path) -> None:
    with receiving() as receiver, serving(tmp_path, database_url, **QUICK) as survivor:
        with serving(tmp_path, database_url, **QUICK, TICKETS_PUSH="False") as silent:
            given_events(silent, 4)
        with serving(tmp_path, database_url, **QUICK) as other:
            define(other, "siem", receiver.url("/hook"))
            until(lambda: len(receiver.received) == 5, "one of them pushes")
            survivor.kill()
            reset(other, 1)
            began = time.monotonic()
            until(lambda: 6 in receiver.positions("/hook"), "the other continues")
            took = time.monotonic() - began
            until(lambda: state(other, "siem")["lag"] == 0, "the position is kept")

    assert took < 30
    positions = receiver.positions("/hook")
    assert list(dict.fromkeys(positions)) == [1, 2, 3, 4, 5, 6]
    assert json.loads(receiver.received[-1].body)["id"] == "6"


def test_nothing_is_sent_to_the_private_network_by_default(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, sqlite_url, **NO_DELIVERY) as server, receiving() as receiver:
        given_events(server, 2)
        refused = server.client.put(f"{SUBSCRIPTIONS}/siem", json={"url": receiver.url("/hook")})
        define(server, "siem", receiver.url("/hook").replace("http:", "https:"))
        until(lambda: state(server, "siem")["lastError"], "it is refused")
        shown = state(server, "siem")

    assert refused.status_code == 422
    assert "private address" in shown["lastError"]
    assert receiver.received == []


def test_security_events_are_pushed_with_the_requested_header(server: Server) -> None:
    keys = jwt.PyJWKSet.from_dict(
        server.client.get(f"http://127.0.0.1:{server.port}/.well-known/jwks.json").json()
    )
    with receiving(lambda _: answer(202)) as receiver:
        delivery = {
            "method": "urn:ietf:rfc:8935",
            "endpoint_url": receiver.url("/sets"),
            "authorization_header": "Bearer s3cret",
        }
        made = (
            server.client.post("/client-123/ssf/streams", json={"delivery": delivery})
            .raise_for_status()
            .json()
        )
        server.client.post("/client-123/ssf/verify", json={"stream_id": made["stream_id"], "state": "x"})
        until(lambda: len(receiver.received) == 1, "the verification is sent")
        reset(server, 2)
        until(lambda: len(receiver.received) == 3, "the resets are sent")

    tokens = [request.body.decode() for request in receiver.received]
    claims = [
        jwt.decode(token, keys.keys[0], algorithms=["RS256"], audience="helpdesk", issuer=made["iss"])
        for token in tokens
    ]
    assert [next(iter(claim["events"])).rpartition("/")[2] for claim in claims] == [
        "verification",
        "credential-change",
        "credential-change",
    ]
    assert claims[0]["sub_id"]["id"] == made["stream_id"]
    assert {request.headers["Authorization"] for request in receiver.received} == {"Bearer s3cret"}
    assert {request.headers["Content-Type"] for request in receiver.received} == {"application/secevent+jwt"}


def test_the_reason_for_a_refused_security_event_is_shown(server: Server) -> None:
    reported = json.dumps({"err": "invalid_audience", "description": "<b>not me</b>"}).encode()
    with receiving(lambda _: answer(400, "Content-Type: application/json", body=reported)) as receiver:
        delivery = {"method": "urn:ietf:rfc:8935", "endpoint_url": receiver.url("/sets")}
        made = (
            server.client.post("/client-123/ssf/streams", json={"delivery": delivery})
            .raise_for_status()
            .json()
        )
        reset(server, 1)
        until(lambda: state(server, made["stream_id"])["failures"], "it is tried")

    assert state(server, made["stream_id"])["lastError"] == "responded with 400: invalid_audience"


@pytest.mark.parametrize("body", [b"[" * 60_000, b"\xff"], ids=["deep", "no text"])
def test_a_response_that_cannot_be_parsed_is_a_failed_attempt(
    sqlite_url: str, tmp_path: Path, body: bytes
) -> None:
    quick = QUICK | {"TICKETS_PUSH_GIVE_UP_HOURS": str(1 / 3600)}
    with (
        serving(tmp_path, sqlite_url, **quick) as server,
        receiving(lambda _: answer(400, body=body)) as receiver,
    ):
        given_events(server, 2)
        delivery = {"method": "urn:ietf:rfc:8935", "endpoint_url": receiver.url("/sets")}
        made = server.client.post("/client-123/ssf/streams", json={"delivery": delivery})
        reset(server, 1)
        name = made.raise_for_status().json()["stream_id"]
        until(lambda: state(server, name)["status"] == "parked", "it is parked")
        log = server.log.read_text()

    assert "Traceback" not in log


def test_a_separate_process_pushes_beside_servers_that_do_not(database_url: str, tmp_path: Path) -> None:
    with receiving() as receiver, serving(tmp_path, database_url, **QUICK, TICKETS_PUSH="False") as server:
        given_events(server, 2)
        define(server, "siem", receiver.url("/hook"))
        with command(tmp_path, "push", TICKETS_DATABASE_URL=database_url, **QUICK) as pusher:
            until(lambda: len(receiver.received) == 3, "it pushes")
            status = pusher.stop()
        reset(server, 1)
        assert state(server, "siem")["lag"] == 1

    assert status == 0
    assert receiver.positions("/hook") == [1, 2, 3]
