"""The actions of the commands that import and export credentials."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from application.policies.define_policy import read_policies
from application.policies.records import policies_of
from application.policies.response import to_response
from application.record.history import log_items, log_pages
from application.record.ledger import HistoryQuery
from application.shared.wire import to_json
from application.tickets.export_tickets import export_tickets
from application.tickets.import_tickets import CHUNK, Import, ImportReport, import_tickets
from application.tickets.minting import SlowWork
from application.transaction.command import Command
from application.users.export_users import export_users
from domain.record.installation import INSTALLATION
from interface.composition.installation import operator
from interface.composition.record import settings_of_a_store, watched
from interface.composition.service import in_background
from interface.outbound.keys.argon2_hash import Argon2Hash
from interface.outbound.system import system_clock
from interface.settings import InvalidSettings, Settings, read_settings
from interface.trace_context import new_traceparent


def _settings() -> Settings:
    """Return the settings with larger transactions and a longer queue, since no caller waits for one row."""
    return read_settings().model_copy(update={"max_batch": CHUNK // 2, "max_waiting": 4 * CHUNK})


def import_from(
    chunks: Iterable[bytes],
    client_ext_id: str,
    *,
    source: str,
    salt_first: bool,
    dry_run: bool,
    history_digest: str | None,
    report: ImportReport,
) -> None:
    """Import the credentials of a file of JSON lines. Raises Unavailable, InvalidSettings."""
    if client_ext_id == INSTALLATION.client_ext_id:
        raise InvalidSettings(f"client {client_ext_id!r} is the installation, which has no users")
    terms = Import(
        client_ext_id=client_ext_id,
        source=source,
        salt_first=salt_first,
        dry_run=dry_run,
        actor=operator(),
        correlation_id=new_traceparent(),
        command_id=secrets.token_hex(16),
        history_digest=history_digest,
    )
    slow_hash = Argon2Hash()
    # The outbox key is created before the first ticket: a store with tickets and without a key has lost it.
    started = in_background(_settings(), with_outbox=not dry_run)
    # A slow hash releases the interpreter lock.
    with started as (_, background), ThreadPoolExecutor(os.cpu_count()) as threads:

        def finish(works: Sequence[SlowWork]) -> Iterable[Command]:
            return threads.map(lambda work: work.finish(slow_hash), works)

        import_tickets(chunks, terms, submit=background.submit_all, finish=finish, report=report)


def export_of(client_ext_id: str) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the name and the text of each file of an export. Raises UnknownClient, Unavailable, InvalidSettings."""
    with in_background(settings_of_a_store()) as (running, background):
        watched(background, client_ext_id, "", "tickets credentials export")
        store = running.store
        for state in read_policies(client_ext_id, store.load([policies_of(client_ext_id)])):
            policy = to_response(state).model_dump(mode="json", include={"parameters", "defaultPolicy"})
            yield f"policies/{quote(state.policy_ext_id, safe='')}.json", iter([f"{json.dumps(policy)}\n"])
        yield "users.csv", export_users(client_ext_id, store=store)
        rows = export_tickets(client_ext_id, store=store, clock=system_clock)
        yield "credentials.ndjson", (f"{to_json(row)}\n" for row in rows)
        pages = log_pages(HistoryQuery(client_ext_id), ledger=store)
        items = (item for page in pages for item in log_items(page, ledger=store))
        yield "history.ndjson", (f"{to_json(item)}\n" for item in items)
