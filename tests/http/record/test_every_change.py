"""Every operation that changes something leaves its event, which names its object and the caller (both stores)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from application.delivery.outbox import delivery_id
from application.subscriptions.security_stream import POLL
from domain.tickets.events import stream_id
from tests.support.evidence import open_store
from tests.support.web import BASE, Web, web_over

CLIENT = "client-123"
USER = ("User", "user-123")
TICKET = ("TicketCredential", "t-1")
SIEM = ("Subscription", "siem")
# Operations with another method than GET that leave no event.
UNRECORDED = {
    "verifyStream": "it sends a message to the stream of its caller, and changes nothing",
    "pollStream": "it reads events; the position of a reader is not a change, as that of the feed",
}
Left = tuple[str, str, str]


@dataclass
class Caller:
    """Calls the operations of the document by their ids, and compares the events that each leaves."""

    web: Web
    paths: dict[str, tuple[str, str]]
    called: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)

    def does(self, operation: str, *expected: Left, body: Any = None, **values: Any) -> None:
        """Call an operation, which leaves these events. values: of the path and the query."""
        _, left = self.call(operation, body, **values)
        assert left == list(expected), operation
        if not left:
            self.silent.add(operation)

    def call(self, operation: str, body: Any = None, **values: Any) -> tuple[Any, list[Left]]:
        """Call an operation. Returns the body of the response, and the type and object of each event that it left."""
        method, path = self.paths[operation]
        url = path.format(**{"clientExtId": CLIENT, "userExtId": "user-123", **values})
        query = {name: value for name, value in values.items() if f"{{{name}}}" not in path}
        headers = self.web.as_caller(subject="operator")
        before = self.web.service.store.size(CLIENT)
        answer = self.web.client.request(method, url, json=body, params=query, headers=headers)
        assert answer.is_success, (operation, answer.text)
        self.called.add(operation)
        left = self._changes_after(before)
        assert {item["actor"] for item in left} <= {"operator"}
        found = [(item["type"], item["aggregate"], item["aggregateId"]) for item in left]
        return answer.json() if answer.content else None, found

    def _changes_after(self, position: int) -> list[Any]:
        log = self.web.client.get(f"{BASE}/{CLIENT}/history", params={"limit": 1000}).json()["items"]
        return [item for item in log if item["position"] > position and item["type"] != "AccessNoted"]


@pytest.fixture
def caller(database_url: str, tmp_path: Path) -> Iterator[Caller]:
    store = open_store(database_url)
    with web_over(store, tmp_path) as web:
        document = web.client.get("/openapi.json").json()["paths"]
        found = {
            operation["operationId"]: (method, path)
            for path, operations in document.items()
            for method, operation in operations.items()
            if method != "get"
        }
        yield Caller(web, found)
    store.close()


def test_every_operation_leaves_its_event_or_is_listed_with_a_reason(caller: Caller) -> None:
    """A new operation fails until it is called here."""
    change_users_and_policies(caller)
    change_tickets(caller)
    import_tickets(caller)
    change_subscriptions(caller)
    change_streams(caller)
    change_bulk_jobs(caller)
    caller.does("createTicket", ("TicketCreated", *TICKET), body={"extId": "t-1"})
    caller.does("eraseUser", ("TicketDeleted", *TICKET), ("UserErased", *USER))

    assert caller.called == caller.paths.keys()
    assert caller.silent == UNRECORDED.keys()


def change_users_and_policies(caller: Caller) -> None:
    letters, mails = ("PolicyDefinition", "letters"), ("PolicyDefinition", "mails")
    default = {"defaultPolicy": True}
    caller.does("registerUser", ("UserRegistered", *USER), body={"email": "u@example.com"})
    caller.does("registerUser", ("UserChanged", *USER), body={"email": "v@example.com"})
    caller.does("definePolicy", ("PolicyDefined", *letters), policyExtId="letters", body=default)
    events = ("PolicyDefaultWithdrawn", *letters), ("PolicyDefined", *mails)
    caller.does("definePolicy", *events, policyExtId="mails", body=default)


def change_tickets(caller: Caller) -> None:
    caller.does("createTicket", ("TicketCreated", *TICKET), body={"extId": "t-1"})
    delivery = delivery_id(stream_id(CLIENT, "user-123"), 1)
    caller.does("retryDeliveries", ("TicketDeliveryRetried", "TicketDelivery", delivery))
    for body, event in (
        ({"policyExtId": "letters"}, "TicketPolicyAssigned"),
        ({"validity": {"to": "2026-11-30T00:00:00Z"}}, "TicketValidityChanged"),
        ({"modificationComment": "asked"}, "TicketCommented"),
        ({"stateName": "disabled"}, "TicketStateChanged"),
        ({"stateName": "active"}, "TicketStateChanged"),
    ):
        caller.does("updateTicket", (event, *TICKET), body=body)
    caller.does("regenerateTicket", ("TicketRegenerated", *TICKET))
    newest = caller.web.service.newest().reveal()
    caller.does("verifyTicket", ("WrongTicketPresented", *TICKET), body={"ticket": "wrong"})
    caller.does("verifyTicket", ("TicketVerified", *TICKET), body={"ticket": newest})
    caller.does("deleteTicket", ("TicketDeleted", *TICKET))


def import_tickets(caller: Caller) -> None:
    row = {"extId": "t-2", "userExtId": "user-2", "stateName": "active", "ticket": "{SSHA256}" + "A" * 64}
    registered = ("UserRegistered", "User", "user-2")
    caller.does("registerUser", registered, userExtId="user-2", body={"email": "u@example.com"})
    imported = ("TicketImported", "TicketCredential", "t-2")
    caller.does("importTickets", imported, body={"source": "old", "items": [row]})


def change_subscriptions(caller: Caller) -> None:
    body = {"url": "https://siem.example"}
    caller.does("defineSubscription", ("SubscriptionDefined", *SIEM), name="siem", body=body)
    caller.does("replaySubscription", ("SubscriptionMoved", *SIEM), name="siem", **{"from": 1})
    caller.does("resumeSubscription", ("SubscriptionStatusChanged", *SIEM), name="siem")
    caller.does("deleteSubscription", ("SubscriptionDeleted", *SIEM), name="siem")


def change_bulk_jobs(caller: Caller) -> None:
    answer, left = caller.call("startBulkReset", {"userExtIds": ["user-123"]})
    job = ("BulkJob", answer["job"])
    assert left == [("BulkJobStarted", *job)]
    caller.does("pauseBulkJob", ("BulkJobPaused", *job), job=answer["job"])
    caller.does("resumeBulkJob", ("BulkJobResumed", *job), job=answer["job"])
    caller.does("cancelBulkJob", ("BulkJobCancelled", *job), job=answer["job"])


def change_streams(caller: Caller) -> None:
    answer, left = caller.call("createStream", {"delivery": {"method": POLL}})
    name = answer["stream_id"]
    stream = ("Subscription", name)
    assert left == [("SubscriptionDefined", *stream)]
    body: Any = {"stream_id": name, "description": "ours"}
    caller.does("changeStream", ("SubscriptionDefined", *stream), body=body)
    caller.does("replaceStream", ("SubscriptionDefined", *stream), body={"stream_id": name})
    status = {"stream_id": name, "status": "paused"}
    caller.does("changeStreamStatus", ("SubscriptionStatusChanged", *stream), body=status)
    caller.does("verifyStream", body={"stream_id": name})
    caller.does("pollStream", streamId=name, body={"returnImmediately": True})
    caller.does("deleteStream", ("SubscriptionDeleted", *stream), stream_id=name)
