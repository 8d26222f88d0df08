"""Shared Signals over HTTP, on both stores: streams, their status, and polled events."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from application.tickets.expire_tickets import NoteExpiry
from tests.support.evidence import open_store
from tests.support.service import command
from tests.support.web import BASE, RESET, TICKET, Web, web_over

ISSUER = f"https://tickets.example{BASE}/client-123"
SSF = f"{BASE}/client-123/ssf"
STREAMS = f"{SSF}/streams"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
SSF_EVENT = "https://schemas.openid.net/secevent/ssf/event-type"
PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
PUSHED = {
    "delivery": {
        "method": PUSH,
        "endpoint_url": "https://siem.example/t0k3n",
        "authorization_header": "s3cret",
    }
}


@pytest.fixture
def web(database_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


def create(web: Web, **body: Any) -> dict[str, Any]:
    answer = web.client.post(STREAMS, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def poll(web: Web, stream: dict[str, Any], **body: Any) -> dict[str, Any]:
    url = stream["delivery"]["endpoint_url"].removeprefix("https://tickets.example")
    answer = web.client.post(url, json={"returnImmediately": True, **body})
    assert answer.status_code == 200, answer.text
    polled: dict[str, Any] = answer.json()
    return polled


def verified(web: Web, token: str) -> dict[str, Any]:
    """Return the claims of a token, verified as a receiver would."""
    keys = jwt.PyJWKSet.from_dict(
        web.client.get("/.well-known/jwks.json", headers={"Authorization": ""}).json()
    )
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("RS256", "secevent+jwt")
    key = next(key for key in keys.keys if key.key_id == header["kid"])
    options: Any = {"verify_iat": False}  # the test's clock stands still
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["RS256"], audience="helpdesk", issuer=ISSUER, options=options
    )
    return claims


def claims_of(web: Web, polled: dict[str, Any]) -> list[dict[str, Any]]:
    found = [verified(web, token) for token in polled["sets"].values()]
    assert [claims["jti"] for claims in found] == list(polled["sets"])
    return found


def test_a_caller_may_have_fifty_streams(web: Web) -> None:
    streams = [create(web) for _ in range(50)]

    refused = web.client.post(STREAMS, json={})

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert "TICKETS_STREAMS_PER_CALLER). Delete one first" in refused.json()["detail"]
    other = web.as_caller(subject="another receiver")
    assert web.client.post(STREAMS, json={}, headers=other).status_code == 201
    web.client.delete(f"{STREAMS}?stream_id={streams[0]['stream_id']}")
    create(web)


def test_the_transmitter_is_found_without_a_token(web: Web) -> None:
    found = web.client.get(f"/.well-known/ssf-configuration{BASE}/client-123", headers={"Authorization": ""})

    assert found.json() == {
        "spec_version": "1_0",
        "issuer": ISSUER,
        "jwks_uri": "https://tickets.example/.well-known/jwks.json",
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": f"{ISSUER}/ssf/streams",
        "status_endpoint": f"{ISSUER}/ssf/status",
        "verification_endpoint": f"{ISSUER}/ssf/verify",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        "default_subjects": "ALL",
    }
    assert web.client.get(f"/.well-known/ssf-configuration{BASE}/%00").status_code == 400


def test_a_stream_without_a_delivery_is_polled(web: Web) -> None:
    stream = create(web)

    assert stream == {
        "stream_id": stream["stream_id"],
        "iss": ISSUER,
        "aud": "helpdesk",
        "delivery": {"method": POLL, "endpoint_url": f"{ISSUER}/ssf/streams/{stream['stream_id']}/events"},
        "events_supported": [CAEP],
        "events_delivered": [CAEP],
    }
    assert web.client.get(STREAMS, params={"stream_id": stream["stream_id"]}).json() == stream
    assert web.client.get(STREAMS).json() == [stream]


def test_a_reset_is_a_credential_change_with_initiator_and_reason(web: Web) -> None:
    web.given_a_ticket()
    stream = create(web, description="ours")
    reset = web.client.post(RESET, json={"modificationComment": "lost letter"})

    [claims] = claims_of(web, poll(web, stream))

    assert claims == {
        "iss": ISSUER,
        "jti": f"{stream['stream_id']}:4",
        "iat": 1763890920 + 365 * 86400,
        "aud": "helpdesk",
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "user-123"},
        "txn": reset.headers["traceparent"].split("-")[1],
        "events": {
            CAEP: {
                "credential_type": "ticket",
                "change_type": "update",
                "initiating_entity": "admin",
                "reason_admin": {
                    "en": "Ticket reset: lost letter",
                    "de": "Ticket zurückgesetzt: lost letter",
                    "fr": "Ticket réinitialisé: lost letter",
                    "it": "Ticket reimpostato: lost letter",
                },
                "event_timestamp": 1763890920 + 365 * 86400,
            }
        },
    }


def test_the_life_of_a_ticket(web: Web) -> None:
    stream = create(web)
    web.given_a_ticket()
    web.client.post(RESET)
    web.client.post(f"{TICKET}/verify", json={"ticket": "wrong"})
    web.client.patch(TICKET, json={"stateName": "disabled"})
    web.client.patch(TICKET, json={"stateName": "active"})
    web.client.patch(TICKET, json={"validity": {"to": "2026-11-24T00:00:00Z"}})
    web.client.delete(TICKET)

    found = claims_of(web, poll(web, stream))

    changes = [claims["events"][CAEP] for claims in found]
    assert [change["change_type"] for change in changes] == [
        "create",
        "update",
        "revoke",
        "update",
        "update",
        "delete",
    ]
    assert all(change["reason_admin"]["en"] for change in changes)


def test_unacknowledged_events_are_sent_again(web: Web) -> None:
    web.given_a_ticket()
    stream = create(web)
    for _ in range(5):
        web.client.post(RESET)

    first = poll(web, stream, maxEvents=3)
    again = poll(web, stream, maxEvents=3)
    assert (list(first["sets"]), first["moreAvailable"]) == (list(again["sets"]), True)
    one, two, three = first["sets"]
    # Only the second is acknowledged: the first and the later ones are sent again.
    rest = poll(web, stream, ack=[two])
    assert [jti.rpartition(":")[2] for jti in rest["sets"]] == ["4", "6", "7", "8"]
    assert rest["moreAvailable"] is False
    # The first closes the gap; a refusal of the third counts as an acknowledgement, too.
    last = poll(web, stream, ack=[one], setErrs={three: {"err": "invalid_request", "description": "no"}})
    assert [jti.rpartition(":")[2] for jti in last["sets"]] == ["7", "8"]
    listed = web.client.get(f"{BASE}/client-123/subscriptions/{stream['stream_id']}").json()
    assert (listed["acknowledged"], listed["lastError"]) == (6, "refused: invalid_request: no")


def test_an_acknowledgement_only_returns_nothing_and_unknown_ids_are_ignored(web: Web) -> None:
    web.given_a_ticket()
    stream = create(web)
    web.client.post(RESET)
    nonsense = [
        "",
        "x",
        "other:3",
        f"{stream['stream_id']}:99",
        f"{stream['stream_id']}:-1",
        f"{stream['stream_id']}:003",
    ]

    assert poll(web, stream, maxEvents=0, ack=nonsense) == {"sets": {}, "moreAvailable": False}
    assert len(poll(web, stream, ack=nonsense)["sets"]) == 1


def test_a_poll_waits_for_the_next_event(web: Web) -> None:
    web.given_a_ticket()
    stream = create(web)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(poll(web, stream, returnImmediately=False)))
    waiting.start()

    web.client.post(RESET)
    waiting.join(10)

    assert len(found[0]["sets"]) == 1


def test_a_verification_comes_with_the_next_poll_until_it_is_acknowledged(web: Web) -> None:
    stream = create(web)
    asked = {"stream_id": stream["stream_id"], "state": "VGhpcyBpcw=="}
    assert web.client.post(f"{SSF}/verify", json=asked).status_code == 204

    polled = poll(web, stream)
    [claims] = claims_of(web, polled)

    assert claims["sub_id"] == {"format": "opaque", "id": stream["stream_id"]}
    assert claims["events"] == {f"{SSF_EVENT}/verification": {"state": "VGhpcyBpcw=="}}
    assert poll(web, stream) == polled
    assert poll(web, stream, ack=list(polled["sets"]))["sets"] == {}


def test_a_verification_needs_no_state(web: Web) -> None:
    stream = create(web)
    web.client.post(f"{SSF}/verify", json={"stream_id": stream["stream_id"]})

    [claims] = claims_of(web, poll(web, stream))

    assert claims["events"] == {f"{SSF_EVENT}/verification": {}}


def set_status(web: Web, stream: dict[str, Any], status: str, **more: str) -> Any:
    answer = web.client.post(
        f"{SSF}/status", json={"stream_id": stream["stream_id"], "status": status, **more}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_events_of_a_paused_stream_are_sent_later_and_of_a_disabled_stream_never(web: Web) -> None:
    web.given_a_ticket()
    stream = create(web)
    paused = set_status(web, stream, "paused", reason="maintenance")
    assert paused == {"stream_id": stream["stream_id"], "status": "paused", "reason": "maintenance"}
    assert web.client.get(f"{SSF}/status", params={"stream_id": stream["stream_id"]}).json() == paused
    web.client.post(RESET)
    assert poll(web, stream)["sets"] == {}

    assert set_status(web, stream, "enabled") == {"stream_id": stream["stream_id"], "status": "enabled"}
    held = poll(web, stream)
    assert len(held["sets"]) == 1

    set_status(web, stream, "disabled")
    web.client.post(RESET)
    set_status(web, stream, "enabled")
    assert poll(web, stream, ack=list(held["sets"]))["sets"] == {}


def test_a_resume_by_an_operator_is_sent_to_the_receiver(web: Web) -> None:
    stream = create(web)
    set_status(web, stream, "paused")
    web.client.post(
        f"{BASE}/client-123/subscriptions/{stream['stream_id']}/resume",
        json={"modificationComment": "continue"},
    )

    [claims] = claims_of(web, poll(web, stream))

    assert claims["events"] == {f"{SSF_EVENT}/stream-updated": {"status": "enabled", "reason": "continue"}}


def test_a_patch_changes_the_named_fields_and_a_put_resets_the_others(web: Web) -> None:
    stream = create(web, **PUSHED, description="ours", events_requested=[CAEP, "urn:other"])
    named = {"stream_id": stream["stream_id"]}

    changed = web.client.patch(STREAMS, json={**named, "description": "theirs"}).json()
    assert changed == {**stream, "description": "theirs"}
    assert changed["events_requested"] == [CAEP, "urn:other"]
    subscribed = web.service.store.list_subscriptions("client-123")[0]
    assert (
        '"s3cret"'
        in web.service.sealer.unseal(
            subscribed.sealed, f"subscription client-123\x1f{named['stream_id']}"
        ).reveal()
    )

    replaced = web.client.put(STREAMS, json={**named, "events_requested": ["urn:other"]}).json()
    assert replaced["delivery"]["method"] == POLL
    assert replaced["events_delivered"] == []
    assert "description" not in replaced
    web.given_a_ticket()
    assert poll(web, replaced)["sets"] == {}


def test_the_fields_of_the_transmitter_cannot_change(web: Web) -> None:
    stream = create(web)

    for name, wrong in (("iss", "x"), ("aud", "x"), ("events_supported", []), ("events_delivered", ["x"])):
        answer = web.client.patch(STREAMS, json={"stream_id": stream["stream_id"], name: wrong})
        assert answer.status_code == 400, name
        assert name in answer.json()["detail"]
    same = {
        name: stream[name] for name in ("stream_id", "iss", "aud", "events_supported", "events_delivered")
    }
    assert web.client.patch(STREAMS, json=same).status_code == 200


def test_a_stream_belongs_to_its_receiver(web: Web) -> None:
    stream = create(web)
    other = web.as_caller(subject="other")
    named = {"stream_id": stream["stream_id"]}
    path = stream["delivery"]["endpoint_url"].removeprefix("https://tickets.example")

    for answer in (
        web.client.get(STREAMS, params=named, headers=other),
        web.client.patch(STREAMS, json=named, headers=other),
        web.client.put(STREAMS, json=named, headers=other),
        web.client.delete(STREAMS, params=named, headers=other),
        web.client.get(f"{SSF}/status", params=named, headers=other),
        web.client.post(f"{SSF}/status", json={**named, "status": "paused"}, headers=other),
        web.client.post(f"{SSF}/verify", json=named, headers=other),
        web.client.post(path, json={}, headers=other),
    ):
        assert answer.status_code == 404
    assert web.client.get(STREAMS, headers=other).json() == []
    assert web.client.delete(STREAMS, params=named).status_code == 204
    assert web.client.get(STREAMS).json() == []


def test_permissions_are_required(web: Web) -> None:
    stream = create(web)
    named = {"stream_id": stream["stream_id"]}
    viewer = web.as_caller(permissions=["AccessControl.SubscriptionView"])
    path = stream["delivery"]["endpoint_url"].removeprefix("https://tickets.example")

    assert web.client.get(STREAMS, params=named, headers=viewer).status_code == 200
    for answer in (
        web.client.post(STREAMS, json={}, headers=viewer),
        web.client.patch(STREAMS, json=named, headers=viewer),
        web.client.delete(STREAMS, params=named, headers=viewer),
        web.client.post(f"{SSF}/verify", json=named, headers=viewer),
        web.client.post(path, json={}, headers=viewer),
        web.client.post(path, json={}, headers=web.as_caller(clients=["client-9"])),
    ):
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"delivery": {"method": "urn:other"}}, 400),
        ({"delivery": {"method": PUSH}}, 400),
        ({"delivery": {"method": PUSH, "endpoint_url": "http://siem.example/"}}, 422),
        ({"events_requested": "all"}, 400),
        ({"unknown": "is passed over", "events_requested": []}, 201),
    ],
)
# One store suffices: tests of both stores cover the stored values.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_bounds_of_a_stream(web: Web, body: dict[str, Any], status: int) -> None:
    assert web.client.post(STREAMS, json=body).status_code == status


def test_a_retried_create_makes_one_stream(web: Web) -> None:
    key = {"Idempotency-Key": "once"}

    first = web.client.post(STREAMS, json=PUSHED, headers=key)
    again = web.client.post(STREAMS, json=PUSHED, headers=key)

    assert first.json() == again.json()
    assert len(web.client.get(STREAMS).json()) == 1


def test_a_pushed_stream_is_not_polled_and_no_webhook_gets_its_name(web: Web) -> None:
    stream = create(web, **PUSHED)
    path = f"{STREAMS}/{stream['stream_id']}/events"

    assert stream["delivery"] == {"method": PUSH, "endpoint_url": "https://siem.example/t0k3n"}
    assert web.client.post(path, json={}).status_code == 400
    webhook = web.client.put(
        f"{BASE}/client-123/subscriptions/{stream['stream_id']}", json={"url": "https://siem.example"}
    )
    assert webhook.status_code == 422
    listed = web.client.get(f"{BASE}/client-123/subscriptions").text
    assert "t0k3n" not in listed
    assert "s3cret" not in listed


def test_expiry_is_a_revocation_by_the_policy(web: Web) -> None:
    web.given_a_ticket()
    stream = create(web)
    web.service.clock.advance(timedelta(days=6))
    web.service.execute(command(NoteExpiry))

    [claims] = claims_of(web, poll(web, stream))

    assert claims["events"][CAEP]["change_type"] == "revoke"
    assert claims["events"][CAEP]["initiating_entity"] == "policy"
