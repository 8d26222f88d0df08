"""Resets beside a mail server that fails one mail in three: the last mail to each user contains a ticket that verifies."""

import math
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from application.delivery.outbox import delivery_id
from domain.delivery.ticket_delivery import DeliveryEvent, TicketDelivered, TicketDeliveryEnded
from domain.shared.subject import Subject
from domain.tickets.events import stream_id
from tests.support.command import command
from tests.support.deliveries import (
    all_over,
    assert_doubles_are_the_same,
    message_ids,
    recorded_of,
    smtp,
    subjects,
)
from tests.support.lanes import forms
from tests.support.mail_server import DROPS, HANGS, OK, MailServer, mail_server
from tests.support.server import Server, serving

RESETS = int(os.environ.get("TICKETS_TEST_DELIVERY_RESETS", "300"))
TIMES, IN_A_ROW = 7, 3
CALLERS = 4
FAILURES = [("RCPT", "450 4.2.1 busy"), ("DATA", "451 4.3.0 later"), ("DATA", DROPS), ("DATA", HANGS)]


class Moods:
    """The responses of a mail server that fails one mail in three."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.failed = 0
        self.shown: dict[str, tuple[str, str] | None] = {}

    def answer(self, step: str, to: str) -> str:
        """Return the response; the recipient determines the result of the mail."""
        if step == "RCPT":
            fails = self._chance.random() < 1 / 3
            self.shown[to] = self._chance.choice(FAILURES) if fails else None
            self.failed += fails
        failure = self.shown[to]
        return failure[1] if failure and failure[0] == step else OK


@pytest.mark.timeout(120 + RESETS // 5)
@pytest.mark.parametrize("count", forms(short=60, full=RESETS))
def test_the_last_mail_of_each_user_holds_a_ticket_that_verifies(
    database_url: str, tmp_path: Path, chance: random.Random, count: int
) -> None:
    users = subjects(math.ceil(count / (TIMES * IN_A_ROW)))
    turns = chance.sample(users * TIMES, len(users) * TIMES)
    moods, begin = Moods(random.Random(chance.random())), time.monotonic()
    with mail_server(moods.answer) as mails, ExitStack() as stack:
        settings = smtp(mails, TICKETS_SMTP_TIMEOUT_SECONDS="0.3")
        server = stack.enter_context(serving(tmp_path, database_url, **settings))
        given_tickets(server, users)
        stack.enter_context(command(tmp_path, "deliver", TICKETS_DATABASE_URL=database_url, **settings))
        with ThreadPoolExecutor(CALLERS) as pool:
            resets = [user for user in turns for _ in range(IN_A_ROW)]
            list(pool.map(lambda user: reset(server.client, user), resets))
        all_over(database_url, 120 + count / 20)
        took = time.monotonic() - begin
        assert users_with_an_unusable_last_mail(server.client, mails, users) == []

    minted = len(users) + len(resets)
    reported = [event for events in recorded_of(database_url, users).values() for event in events]
    became = Counter(type(event) for event in reported)
    delivered, ended = became[TicketDelivered], became[TicketDeliveryEnded]
    doubles = assert_doubles_are_the_same(mails)
    print(  # noqa: T201
        f"{len(resets)} resets, {minted} tickets in {took:.0f} s: {len(mails.taken)} mails, {doubles} of them doubles,"
        f" {moods.failed} tries failed, {delivered} delivered, {ended} replaced, {minted - delivered - ended} lost"
    )
    assert (
        delivered + ended == len({(event.user_ext_id, event.ticket_version) for event in reported}) == minted
    )
    assert users_without_mail(mails, reported) == set()


def users_without_mail(mails: MailServer, reported: list[DeliveryEvent]) -> set[str]:
    """Return the ids of deliveries that are recorded without a mail."""
    sent = {identity.strip("<>").partition("@")[0] for identity in message_ids(mails.taken)}
    return {
        delivery_id(stream_id(event.client_ext_id, event.user_ext_id), event.ticket_version)
        for event in reported
        if isinstance(event, TicketDelivered)
    } - sent


def given_tickets(server: Server, users: list[Subject]) -> None:
    for client, user in users:
        server.client.put(f"/{client}/users/{user}", json={"email": f"{user}@example.com"}).raise_for_status()
        server.client.post(f"/{client}/users/{user}/ticket").raise_for_status()


def reset(client: httpx.Client, user: Subject) -> None:
    client.post(f"/{user.client_ext_id}/users/{user.user_ext_id}/ticket/reset").raise_for_status()


def users_with_an_unusable_last_mail(
    client: httpx.Client, mails: MailServer, users: list[Subject]
) -> list[str]:
    """Return the users whose last mail contains no ticket that verifies."""
    last = {mail.to: mail for mail in list(mails.taken)}
    wrong = []
    for client_ext_id, user in users:
        answer = client.post(
            f"/{client_ext_id}/users/{user}/ticket/verify",
            json={"ticket": last[f"{user}@example.com"].ticket},
        )
        if not answer.raise_for_status().json()["verified"]:
            wrong.append(user)
    return wrong
