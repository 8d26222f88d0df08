"""Wrong guesses at one credential from several processes concurrently: ten thousand in the slow lane."""

import multiprocessing
import secrets

import pytest

from application.tickets.create_ticket import CreateTicket
from application.tickets.verify_ticket import VerifyTicket
from application.transaction.group_commit import Background, GroupCommit
from application.users.register_user import RegisterUser
from domain.shared.subject import Subject
from domain.tickets.ticket import ClearTicket
from interface.composition.register import HandlerContext, handlers
from interface.outbound.keys.aes_gcm_sealer import AesGcmSealer
from interface.outbound.system import SystemRandomness, system_clock
from interface.settings import Settings
from tests.support.evidence import open_store
from tests.support.lanes import forms
from tests.support.service import command
from tests.support.stores import history_of, state_of

SUBJECT = Subject("client-123", "user-123")


def commands_over(database_url: str) -> Background:
    context = HandlerContext(system_clock, SystemRandomness(), AesGcmSealer(lambda: [bytes(32)]), Settings())
    return Background(GroupCommit(open_store(database_url), handlers(context), context.randomness))


def guess(database_url: str, guesses: int) -> int:
    """Guess wrong, and return how many guesses counted."""
    commands = commands_over(database_url)
    futures = [
        commands.submit(command(VerifyTicket, ticket=ClearTicket(secrets.token_hex(12))))
        for _ in range(guesses)
    ]
    answers = [future.result(120).unwrap().body for future in futures]
    commands.close()
    assert not any('"verified":true' in answer for answer in answers)
    return sum('"wrong-ticket"' in answer for answer in answers)


@pytest.mark.parametrize("processes_and_guesses", forms(short=(2, 100), full=(16, 625)))
def test_wrong_guesses_count_right_never_unlock_and_leave_a_short_stream(
    database_url: str, processes_and_guesses: tuple[int, int]
) -> None:
    processes, guesses = processes_and_guesses
    commands = commands_over(database_url)
    commands.execute(command(RegisterUser, email="user@example.com"))
    commands.execute(command(CreateTicket))

    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        counted = sum(pool.starmap(guess, [(database_url, guesses)] * processes))

    store = open_store(database_url)
    row = state_of(store, SUBJECT)
    commands.close()
    assert counted == row.failure_count == len(history_of(store, SUBJECT)) - 1
    assert (counted, row.state_name) in {(2, "tmp-locked"), (3, "fail-locked")}
    store.close()
