"""Each permission has no effect outside the table of docs/permissions.md.

Every operation is called with every subset of the permissions that it reads, and with each subset together with all other
permissions; the effects are observed in the events and the outbox of the store. This covers the other tokens, too:
`_Recorded` permits the service only to test whether a token has a permission, and records the permission. If a call reads
the permissions R only, a token T gets the same answer to each test as the token T ∩ R, so the service does the same; and each
subset of R was called. The caller of a subset that reads further permissions adds them to R and begins again.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from application.record.ledger import LedgerEntry
from domain.bulk.bulk_job import BulkJobCancelled, BulkJobPaused, BulkJobResumed, BulkJobStarted
from domain.delivery.ticket_delivery import TicketDeliveryRetried
from domain.policies.policy_definition import PolicyDefaultWithdrawn, PolicyDefined
from domain.shared.event import Event
from domain.shared.subject import Subject
from domain.subscriptions.subscription import (
    SubscriptionDefined,
    SubscriptionDeleted,
    SubscriptionMoved,
    SubscriptionStatusChanged,
)
from domain.tickets import events as tickets
from domain.tickets.states import State
from domain.users.user import UserChanged, UserErased, UserRegistered
from interface.composition.register import PERMISSIONS
from interface.http.core.authentication import Caller
from tests.support.server import ROOT
from tests.support.stores import states_of, temporary_store
from tests.support.web import BASE, Web, web_over

CLIENT = "client-123"
LOCKED = (State.TMP_LOCKED, State.FAIL_LOCKED)
STRICT = {"maxCredFailureCount": 1, "maxDailyDeliveryCount": -1}
PUBLIC = {"getLedgerKeys", "getTransmitter", "getKeys"}
# Its response has no end, so a wrong parameter, which is refused after the permission, ends it.
ENDLESS = "streamEvents"

EVENT_EFFECTS: Mapping[type[Event], str] = {
    tickets.TicketCreated: "ticket created",
    tickets.TicketImported: "ticket imported",
    tickets.TicketRegenerated: "old ticket invalid",
    tickets.TicketDeleted: "old ticket invalid",
    tickets.TicketStateChanged: "state changed",
    tickets.TicketPolicyAssigned: "policy of the ticket changed",
    tickets.TicketValidityChanged: "validity changed",
    tickets.TicketCommented: "comment changed",
    tickets.TicketVerified: "ticket used",
    tickets.WrongTicketPresented: "wrong ticket counted",
    TicketDeliveryRetried: "ticket sent",
    UserRegistered: "address changed",
    UserChanged: "address changed",
    UserErased: "user erased",
    PolicyDefined: "policy changed or weakened",
    PolicyDefaultWithdrawn: "policy changed or weakened",
    SubscriptionDefined: "receiver of events changed",
    SubscriptionMoved: "events sent again",
    SubscriptionStatusChanged: "subscription enabled or paused",
    SubscriptionDeleted: "subscription deleted",
    BulkJobStarted: "old tickets of many users invalid, tickets sent to them",
    BulkJobPaused: "bulk job paused",
    BulkJobResumed: "bulk job resumed",
    BulkJobCancelled: "bulk job cancelled",
}


class _Recorded:
    """The permissions of a token; tests of membership are recorded, and everything else fails."""

    def __init__(self, permissions: frozenset[str], read: set[str]) -> None:
        self._permissions = permissions
        self._read = read

    def __contains__(self, permission: str) -> bool:
        self._read.add(permission)
        return permission in self._permissions

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the permissions of a token are read by {name}")


@dataclass
class Walk:
    """Calls operations with chosen permissions, and observes their effects. read: the permissions that the service read."""

    web: Web
    paths: dict[str, tuple[str, str]]
    read: set[str] = field(default_factory=set)
    is_recording: bool = False
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def given(self, method: str, path: str, body: Any = None) -> Any:
        """Call with all permissions, which is not recorded."""
        headers = self.web.as_caller(subject="walker")
        answer = self.web.client.request(method, f"{BASE}/{CLIENT}/{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def effects(self, case: "Case", permissions: frozenset[str]) -> frozenset[str]:
        """Return the effects of a call with these permissions, on new objects."""
        name = f"x-{next(self.numbers)}"
        values = {"clientExtId": CLIENT, "userExtId": name, "name": name, "policyExtId": name}
        values |= case.given(self, name) or {}
        store, subject = self.web.service.store, Subject(CLIENT, name)
        size, before, outbox = store.size(CLIENT), self._state(subject), self._queued(subject)
        method, path = self.paths[case.operation]
        self.is_recording = True
        answer = self.web.client.request(
            method,
            path.format(**values),
            params={key: value.format(**values) for key, value in case.query.items()},
            json=_filled(case.body, values),
            headers=self.web.as_caller(subject="walker", permissions=sorted(permissions)),
        )
        self.is_recording = False
        found = self._of_events(store.entries(CLIENT, size, 1_000))
        after = self._state(subject)
        if before and after and before.state_name in LOCKED and after.state_name is State.ACTIVE:
            found.add("lock lifted")
        if before and after and after.state_name in LOCKED and before.state_name not in LOCKED:
            found.add("ticket locked")
        if self._queued(subject) - outbox:
            found.add("ticket sent")
        if answer.status_code == 403:
            assert not found, (case, permissions)
            return frozenset()
        if answer.status_code == 429:
            return frozenset(found)
        assert answer.is_success or case.operation == ENDLESS, (case, permissions, answer.text)
        return frozenset(found or {case.silent})

    def _of_events(self, entries: Sequence[LedgerEntry]) -> set[str]:
        found = [self.web.service.store.event(entry) for entry in entries]
        return {EVENT_EFFECTS[type(event)] for event in found if event.TOPIC != "AccessNoted"}

    def _state(self, subject: Subject) -> Any:
        return states_of(self.web.service.store, [subject]).get(subject)

    def _queued(self, subject: Subject) -> set[int]:
        return {found.entry.version for found in self.web.service.store.pending(subject)}


def _filled(body: Any, values: Mapping[str, str]) -> Any:
    if isinstance(body, dict):
        return {key: _filled(value, values) for key, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, values) for value in body]
    return body.format(**values) if isinstance(body, str) else body


def nothing(_: Walk, __: str) -> None:
    """Given nothing."""


def user(walk: Walk, name: str) -> None:
    walk.given("PUT", f"users/{name}", {"email": "u@example.com"})


def ticket(walk: Walk, name: str, policy: str = "strict") -> dict[str, str]:
    user(walk, name)
    walk.given("POST", f"users/{name}/ticket", {"policyExtId": policy})
    return {"ticket": walk.web.service.newest().reveal()}


def locked(walk: Walk, name: str) -> None:
    ticket(walk, name)
    walk.given("POST", f"users/{name}/ticket/verify", {"ticket": "wrong"})


def limited(walk: Walk, name: str) -> None:
    ticket(walk, name, "limited")


def deleted(walk: Walk, name: str) -> None:
    limited(walk, name)
    walk.given("DELETE", f"users/{name}/ticket")


def subscription(walk: Walk, name: str) -> None:
    walk.given("PUT", f"subscriptions/{name}", {"url": "https://siem.example"})


def stream(walk: Walk, _: str) -> dict[str, str]:
    body = {"delivery": {"method": "urn:ietf:rfc:8936"}}
    found = walk.given("POST", "ssf/streams", body)["stream_id"]
    return {"streamId": found}


def policy(walk: Walk, name: str) -> None:
    walk.given("PUT", f"policies/{name}", {})


def bulk_job(walk: Walk, name: str) -> dict[str, str]:
    # A client may have few jobs that are not finished.
    for running in walk.web.service.store.running_bulk_jobs():
        walk.given("POST", f"bulk/resets/{running.job}/cancel")
    return {"job": walk.given("POST", "bulk/resets", {"userExtIds": [name]})["job"]}


def paused_job(walk: Walk, name: str) -> dict[str, str]:
    found = bulk_job(walk, name)
    walk.given("POST", f"bulk/resets/{found['job']}/pause")
    return found


@dataclass(frozen=True)
class Case:
    """A call of an operation. given: creates its objects; silent: the effect of a success without events."""

    operation: str
    given: Callable[[Walk, str], dict[str, str] | None] = nothing
    when: str = ""
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    silent: str = "data read"


STREAM = {"stream_id": "{streamId}"}
IMPORTED = {
    "extId": "t",
    "userExtId": "{userExtId}",
    "stateName": "active",
    "ticket": "{{SSHA256}}" + "A" * 64,
}
DRY_RUN = {"userExtIds": ["{userExtId}"], "dryRun": True}
CASES = [
    Case("regenerateTicket", locked, "of a locked ticket"),
    Case("regenerateTicket", limited, "after the daily limit"),
    Case("createTicket", user, body={"policyExtId": "strict"}),
    Case("createTicket", deleted, "after the daily limit", body={"policyExtId": "limited"}),
    Case("getTicket", ticket),
    Case("getTicket", ticket, "with `at` or `atVersion`", query={"atVersion": "1"}),
    Case("updateTicket", locked, "`stateName` active", body={"stateName": "active"}),
    Case("updateTicket", ticket, "`stateName` disabled or archived", body={"stateName": "disabled"}),
    Case("updateTicket", ticket, "`policyExtId`", body={"policyExtId": "limited"}),
    Case("updateTicket", ticket, "`validity`", body={"validity": {"to": "2026-12-31T00:00:00Z"}}),
    Case("updateTicket", ticket, "`modificationComment`", body={"modificationComment": "noted"}),
    Case("deleteTicket", ticket),
    Case("verifyTicket", ticket, "with the right ticket", body={"ticket": "{ticket}"}),
    Case("verifyTicket", ticket, "with a wrong ticket", body={"ticket": "wrong"}),
    Case("findTickets"),
    Case("importTickets", user, body={"source": "old", "items": [IMPORTED]}),
    Case("getDeliveries", ticket),
    Case("retryDeliveries", ticket),
    Case("registerUser", nothing, "of a new user", body={"email": "v@example.com"}),
    Case("registerUser", ticket, "of a known user", body={"email": "v@example.com"}),
    Case("getUser", user),
    Case("eraseUser", ticket),
    Case("listUsers"),
    Case("startBulkReset", ticket, body={"userExtIds": ["{userExtId}"]}),
    Case("startBulkReset", ticket, "with `dryRun`", body=DRY_RUN),
    Case("getBulkJob", bulk_job),
    Case("listBulkItems", bulk_job),
    Case("pauseBulkJob", bulk_job),
    Case("resumeBulkJob", paused_job),
    Case("cancelBulkJob", bulk_job),
    Case("definePolicy", policy, body={"parameters": {"maxCredFailureCount": 100}}),
    Case("getPolicy", policy),
    Case("listPolicies"),
    Case("getHistory", ticket),
    Case("searchHistory"),
    Case("listCheckpoints"),
    Case("getEvidence", ticket),
    Case("getLedgerEvidence"),
    Case("getEvents"),
    Case(ENDLESS, query={"after": "x"}),
    Case("defineSubscription", body={"url": "https://siem.example"}),
    Case("getSubscription", subscription),
    Case("deleteSubscription", subscription),
    Case("listSubscriptions"),
    Case("resumeSubscription", subscription),
    Case("replaySubscription", subscription, query={"from": "1"}),
    Case("createStream", body={"delivery": {"method": "urn:ietf:rfc:8936"}}),
    Case("getStreams", stream),
    Case("changeStream", stream, body=STREAM | {"description": "ours"}),
    Case("replaceStream", stream, body=STREAM | {"description": "ours"}),
    Case("deleteStream", stream, query=STREAM),
    Case("getStreamStatus", stream, query=STREAM),
    Case("changeStreamStatus", stream, body=STREAM | {"status": "paused"}),
    Case("verifyStream", stream, body=STREAM, silent="message sent to the receiver"),
    Case("pollStream", stream, body={"returnImmediately": True}),
]


def subsets(permissions: set[str]) -> Iterator[frozenset[str]]:
    for count in range(len(permissions) + 1):
        yield from map(frozenset, itertools.combinations(sorted(permissions), count))


def walked(walk: Walk, case: Case) -> dict[frozenset[str], frozenset[str]]:
    """Return the effects of each subset of the permissions that the operation reads, with and without all others."""
    walk.read.clear()
    walk.effects(case, frozenset(PERMISSIONS))
    while True:
        read = set(walk.read)
        found = {}
        for subset in subsets(read):
            found[subset] = walk.effects(case, subset)
            assert walk.effects(case, subset | (frozenset(PERMISSIONS) - read)) == found[subset], (
                case,
                subset,
            )
        if walk.read == read:
            return found


def row(case: Case, found: Mapping[frozenset[str], frozenset[str]]) -> str:
    """Return the line of the table: the smallest set of permissions with an effect, and its effects."""
    with_effects = [subset for subset, effects in found.items() if effects]
    smallest = min(with_effects, key=len)
    for subset, effects in found.items():
        assert effects == (found[smallest] if subset >= smallest else frozenset()), (case, subset)
    names = ", ".join(f"`{name.removeprefix('AccessControl.')}`" for name in sorted(smallest))
    when = f" {case.when}" if case.when else ""
    return f"| `{case.operation}`{when} | {names} | {', '.join(sorted(found[smallest]))} |\n"


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    with temporary_store() as store, web_over(store, tmp_path) as web:
        document = web.client.get("/openapi.json").json()["paths"]
        paths = {
            operation["operationId"]: (method, path)
            for path, operations in document.items()
            for method, operation in operations.items()
        }
        walk = Walk(web, paths)
        verifier: Any = web.client.app.state.service.verifier  # type: ignore[attr-defined]
        known = verifier.caller

        async def caller(authorization: list[str]) -> Caller:
            found: Caller = await known(authorization)
            if not walk.is_recording:
                return found
            recorded: Any = _Recorded(found.permissions, walk.read)
            return replace(found, permissions=recorded)

        monkeypatch.setattr(verifier, "caller", caller)
        walk.given("PUT", "policies/strict", {"parameters": STRICT})
        walk.given("PUT", "policies/limited", {"parameters": {"maxDailyDeliveryCount": 1}})
        yield walk


def test_no_permission_has_an_effect_outside_the_table(walk: Walk) -> None:
    rows = [row(case, walked(walk, case)) for case in CASES]

    page = (ROOT / "docs" / "permissions.md").read_text()
    assert "".join(rows) in page


def test_every_operation_is_walked(walk: Walk) -> None:
    assert walk.paths.keys() - PUBLIC == {case.operation for case in CASES}
