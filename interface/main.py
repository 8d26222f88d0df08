"""Where everything is wired, and nothing else wires."""

import asyncio
import base64
import gc
import getpass
import hashlib
import logging
import multiprocessing
import os
import random
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, cast
from urllib.parse import quote
from uuid import UUID

import jwt
import uvicorn
import uvloop
from fastapi import FastAPI

from application.access_log import READ, AccessNotes, NoteAccess, note_access
from application.checkpoint import Witness, make_checkpoint, make_checkpoints, send_checkpoints
from application.command import Answer, Command, Subject
from application.create_ticket import CreateTicket, create_ticket
from application.define_policy import DefinePolicy, define_policy
from application.deliver_tickets import deliver_tickets
from application.erase_user import EraseUser, erase_user
from application.errors import TicketUnknown, Unavailable
from application.evidence import make_evidence
from application.expire_tickets import ExpiryReport, NoteExpiry, expire_tickets, note_expiry
from application.feed import FeedQuery
from application.follow import follow
from application.group_commit import Background, GroupCommit, Handler
from application.group_read import GroupRead
from application.history import HistoryItem, LogItem, history, log_item, past_ticket
from application.import_users import ImportReport, NoImport, import_users
from application.ledger import HistoryQuery, LedgerBroken
from application.live_feed import LiveFeed
from application.modify_ticket import DeleteTicket, ModifyTicket, delete_ticket, modify_ticket
from application.periodic import Periodic
from application.poll import Polling
from application.ports import Store
from application.projection import to_response
from application.publish import Broker, Patience, publish
from application.push import Pusher, Retries
from application.regenerate_ticket import RegenerateTicket, regenerate_ticket
from application.register_user import RegisterUser, register_user
from application.replay import Findings, check_ledger, check_streams, rebuild, stream_ranges
from application.security_event import SecurityEvents
from application.security_stream import SecurityStreams
from application.subscribe import (
    ChangeSubscriptionStatus,
    DefineSubscription,
    DeleteSubscription,
    ReplaySubscription,
    change_subscription_status,
    define_subscription,
    delete_subscription,
    replay_subscription,
)
from application.subscription_row import SubscriptionKey
from application.ticket_response import to_json
from application.verify_ticket import VerifyTicket, verify_ticket
from domain.errors import Refusal
from domain.secret import Secret
from domain.subscription import Method, Status
from interface.cli.audit import AuditActions
from interface.cli.commands import Actions, build_cli
from interface.cli.feed import FeedActions
from interface.cli.messages import fail
from interface.http.app import create_app
from interface.http.authentication import KeyFinder, TokenVerifier, keys_from_set, keys_from_url
from interface.http.call import Service
from interface.http.envelope import new_traceparent
from interface.http.path import BASE_PATH
from interface.http.permissions import PERMISSIONS
from interface.http.rate_limits import RateLimits
from interface.http.slow_hashing import SlowHashing
from interface.outbound.aes_gcm_sealer import KEY_BYTES, AesGcmSealer
from interface.outbound.argon2_hash import Argon2Hash
from interface.outbound.broker_url import BrokerUrl, parse_broker_url
from interface.outbound.cursor_file import CursorRefused, open_cursor
from interface.outbound.durable_file import read_or_make
from interface.outbound.ledger_keys import LedgerKeys, NoteVerifier, read_checkpoints
from interface.outbound.mail_spool import MailSpool
from interface.outbound.outgoing_http import OutgoingHttp
from interface.outbound.postgres_store import PostgresStore
from interface.outbound.set_keys import SetKeys
from interface.outbound.set_sender import SetSender
from interface.outbound.sqlite_store import SqliteStore
from interface.outbound.system import SystemRandomness, system_clock
from interface.outbound.token_key import TokenKey
from interface.outbound.webhook_sender import WebhookSender
from interface.outbound.witnesses import CheckpointDirectory, CheckpointWebhook, TimeStampAuthority
from interface.settings import PREFIX, Settings, WrongSettings, read_settings

log = logging.getLogger(__name__)

Result = TypeVar("Result")

DEMO = Subject("client-123", "user-123")
_DELIVERY_EVERY_SECONDS = 5
_CHECKPOINTS_EVERY_SECONDS = 5
_FLUSH_EVERY_SECONDS = 60
_EXPORTED_AT_ONCE = 500
_PARTS = 16
_PUBLISHER_STOPS_WITHIN_SECONDS = 5
_DEMO_TOKEN_LIFETIME = timedelta(hours=8)
_WEBHOOK_SECRET_BYTES = 32
# A young collection per some 100 requests, in place of several per request.
_GC_THRESHOLDS = (10_000, 20, 20)
# What each server process runs; the bench names an app of its own here.
WORKER_APP = "interface.main:worker_app"


@dataclass(frozen=True)
class Running:
    """The service without an edge: what HTTP and the command line drive."""

    settings: Settings
    store: SqliteStore | PostgresStore
    commands: GroupCommit
    delivery: Periodic | None
    keys: LedgerKeys
    sealer: AesGcmSealer
    set_keys: SetKeys

    def close(self) -> None:
        """Deliver what waits, and give everything back. The commands are closed before, by who runs them."""
        if self.delivery:
            self.delivery.close()
        self.store.close()


def start(settings: Settings) -> Running:
    """Start the service. Raises WrongSettings where a key or the store cannot be used."""
    try:
        sealer = AesGcmSealer(_outbox_key(settings))
        spool = MailSpool(settings.mail_dir, settings.mail_from)
        keys = _ledger_keys(settings)
        set_keys = SetKeys(settings.set_key_file)
        store = _open_store(settings)
    except (OSError, ValueError, RuntimeError, Unavailable) as error:
        raise WrongSettings(str(error)) from error
    deliver = partial(deliver_tickets, outbox=store, sealer=sealer, delivery=spool)
    delivery = (
        Periodic("delivery", deliver, every_seconds=_DELIVERY_EVERY_SECONDS, eager=True)
        if settings.deliver
        else None
    )
    randomness = SystemRandomness()
    handlers: dict[type[Command], Handler] = {
        RegenerateTicket: partial(
            regenerate_ticket, clock=system_clock, randomness=randomness, sealer=sealer
        ),
        CreateTicket: partial(create_ticket, clock=system_clock, randomness=randomness, sealer=sealer),
        ModifyTicket: partial(modify_ticket, clock=system_clock),
        DeleteTicket: partial(delete_ticket, clock=system_clock),
        VerifyTicket: partial(verify_ticket, clock=system_clock, randomness=randomness),
        NoteExpiry: partial(note_expiry, clock=system_clock),
        EraseUser: partial(erase_user, clock=system_clock),
        DefinePolicy: partial(define_policy, clock=system_clock),
        RegisterUser: partial(register_user, clock=system_clock),
        NoteAccess: partial(note_access, clock=system_clock),
        DefineSubscription: partial(
            define_subscription, clock=system_clock, sealer=sealer, private_hosts=settings.private_hosts
        ),
        DeleteSubscription: partial(delete_subscription, clock=system_clock, sealer=sealer),
        ReplaySubscription: partial(replay_subscription, clock=system_clock),
        ChangeSubscriptionStatus: partial(change_subscription_status, clock=system_clock),
    }
    commands = GroupCommit(
        store,
        handlers,
        after_commit=delivery.wake if delivery else lambda: None,
        max_waiting=settings.max_waiting,
        max_batch=settings.max_batch,
    )
    return Running(settings, store, commands, delivery, keys, sealer, set_keys)


@contextmanager
def _in_background(settings: Settings) -> Iterator[tuple[Running, Background]]:
    """Start the service for a command line, which has no event loop, and stop it at the end."""
    running = start(settings)
    background = Background(running.commands)
    try:
        yield running, background
    finally:
        background.close()
        running.close()


def _expire(running: Running, submit: Callable[[Command], Future[Answer]]) -> ExpiryReport | None:
    return expire_tickets(
        store=running.store,
        clock=system_clock,
        submit=submit,
        new_command_id=lambda: secrets.token_hex(16),
        correlation_id=new_traceparent(),
    )


def _open_store(settings: Settings) -> SqliteStore | PostgresStore:
    return _open(settings.database_url)


def _open(database_url: str) -> SqliteStore | PostgresStore:
    path = database_url.removeprefix("sqlite:///")
    return PostgresStore(database_url) if path == database_url else SqliteStore(Path(path))


def _ledger_keys(settings: Settings) -> LedgerKeys:
    return LedgerKeys(
        settings.ledger_key_dir,
        settings.ledger_name,
        clock=system_clock,
        overlap=timedelta(days=settings.ledger_key_overlap_days),
    )


def _witnesses(settings: Settings) -> list[Witness]:
    witnesses: list[Witness] = []
    if settings.checkpoint_dir:
        witnesses.append(CheckpointDirectory(settings.checkpoint_dir))
        if settings.checkpoint_tsa:
            witnesses.append(TimeStampAuthority(settings.checkpoint_tsa, settings.checkpoint_dir))
    if settings.checkpoint_webhook:
        witnesses.append(CheckpointWebhook(settings.checkpoint_webhook))
    return witnesses


def _sign_ledgers(running: Running) -> None:
    settings = running.settings
    with running.store.lease("checkpoints") as held:
        if held:
            make_checkpoints(
                ledger=running.store,
                signer=running.keys,
                clock=system_clock,
                every_events=settings.checkpoint_every_events,
                every=timedelta(seconds=settings.checkpoint_every_seconds),
            )
            send_checkpoints(ledger=running.store, witnesses=_witnesses(settings))


def _outbox_key(settings: Settings) -> bytes:
    if settings.outbox_key:
        return base64.b64decode(settings.outbox_key.get_secret_value())
    return read_or_make(settings.outbox_key_file, lambda: secrets.token_bytes(KEY_BYTES))


def _key_finder(settings: Settings) -> KeyFinder:
    if settings.jwks_url:
        return keys_from_url(
            settings.jwks_url,
            lifespan_seconds=settings.jwks_lifespan_seconds,
            cooldown_seconds=settings.jwks_cooldown_seconds,
        )
    try:
        if settings.jwks_file:
            return keys_from_set(jwt.PyJWKSet.from_json(settings.jwks_file.read_text()))
        return keys_from_set(TokenKey(settings.token_key_file).key_set())
    except (OSError, ValueError, jwt.PyJWTError) as error:
        raise WrongSettings(f"the keys for tokens cannot be read: {error}") from error


def _rate_limits(settings: Settings) -> RateLimits:
    try:
        return RateLimits(
            per_caller=settings.rate_limit_per_caller, per_credential=settings.rate_limit_per_credential
        )
    except ValueError as error:
        raise WrongSettings(f"a rate limit is neither such as 600/minute nor off: {error}") from error


def http_app(running: Running) -> FastAPI:
    """Return the HTTP edge over the service; it closes the service when it shuts down."""
    settings = running.settings
    notes = AccessNotes(running.commands.execute, system_clock)
    live = LiveFeed(running.store, settings.ledger_name)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def submit(command: Command) -> Future[Answer]:
            return asyncio.run_coroutine_threadsafe(running.commands.execute(command), loop)

        expiry = Periodic(
            "expiry", partial(_expire, running, submit), every_seconds=settings.expiry_every_seconds
        )
        checkpoints = Periodic(
            "checkpoints", partial(_sign_ledgers, running), every_seconds=_CHECKPOINTS_EVERY_SECONDS
        )
        flushing = loop.create_task(_flush_again_and_again(notes))
        _spare_the_collector()
        pushing = loop.create_task(_push(running, live)) if settings.push else None
        _before_a_stop(live.stop)
        yield
        if pushing:
            await _cancelled(pushing)
        await live.close()
        await asyncio.to_thread(expiry.close)
        await asyncio.to_thread(checkpoints.close)
        flushing.cancel()
        await _flush(notes)
        await running.commands.close()
        await asyncio.to_thread(running.close)

    return create_app(
        Service(
            execute=running.commands.execute,
            look_up=GroupRead(running.store).look_up,
            finish=SlowHashing(Argon2Hash()).finish,
            store=running.store,
            ledger=running.store,
            live=live,
            signer=running.keys,
            note_access=notes.note,
            clock=system_clock,
            verifier=TokenVerifier(
                _key_finder(settings),
                issuer=settings.token_issuer,
                audience=settings.token_audience,
                trust_seconds=settings.jwks_lifespan_seconds,
            ),
            rate_limits=_rate_limits(settings),
            subscriptions=running.store,
            streams=_streams(running),
            polling=Polling(
                running.store, running.store, live, _events(running), settings.ledger_name, system_clock
            ),
            public_url=settings.public_url,
            key_set=running.set_keys.key_set,
            new_uuid=SystemRandomness().uuid,
            new_webhook_secret=_new_webhook_secret,
            digest_key=hashlib.sha256(b"request digest" + _outbox_key(settings)).digest(),
            patience_seconds=settings.stream_patience_seconds,
        ),
        lifespan,
    )


def _new_webhook_secret() -> Secret:
    return Secret("whsec_" + base64.b64encode(secrets.token_bytes(_WEBHOOK_SECRET_BYTES)).decode())


def _issuer(running: Running, client_ext_id: str) -> str:
    """Return who issues the security events of a client: each is an issuer of its own."""
    return f"{running.settings.public_url}{BASE_PATH}/{quote(client_ext_id, safe='')}"


def _events(running: Running) -> SecurityEvents:
    return SecurityEvents(partial(_issuer, running), running.set_keys, system_clock)


def _streams(running: Running) -> SecurityStreams:
    def poll_url(key: SubscriptionKey) -> str:
        return f"{_issuer(running, key.client_ext_id)}/ssf/streams/{key.name}/events"

    return SecurityStreams(running.store, running.sealer, partial(_issuer, running), poll_url)


async def _push(running: Running, live: LiveFeed) -> None:
    settings = running.settings
    http = OutgoingHttp(settings.private_hosts, timeout_seconds=settings.push_timeout_seconds)
    sets = SetSender(http, _events(running))
    pusher = Pusher(
        store=running.store,
        subscriptions=running.store,
        live=live,
        sealer=running.sealer,
        senders={Method.WEBHOOK: WebhookSender(http, system_clock), Method.SET_PUSH: sets},
        compose_notice=sets.compose_notice,
        park=partial(_park, running),
        retries=Retries(
            first=timedelta(seconds=settings.push_retry_seconds),
            longest=timedelta(seconds=settings.push_longest_wait_seconds),
            give_up_after=timedelta(hours=settings.push_give_up_hours),
            jitter=random.SystemRandom().random,
        ),
        clock=system_clock,
    )
    try:
        await pusher.run()
    finally:
        await http.close()


async def _park(running: Running, key: SubscriptionKey, version: int, reason: str) -> None:
    command = ChangeSubscriptionStatus(
        subject=Subject(key.client_ext_id),
        actor="tickets push",
        reason=reason,
        correlation_id=new_traceparent(),
        command_id=secrets.token_hex(16),
        request_digest="",
        name=key.name,
        status=Status.PARKED,
        version=version,
    )
    (await running.commands.execute(command)).unwrap()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _flush_again_and_again(notes: AccessNotes) -> None:
    while True:
        await asyncio.sleep(_FLUSH_EVERY_SECONDS)
        await _flush(notes)


async def _flush(notes: AccessNotes) -> None:
    try:
        await notes.flush()
    except Unavailable as error:
        log.warning("counts of the access log are lost: %s", error)


def _before_a_stop(end: Callable[[], None]) -> None:
    """Call `end` on the event loop when a signal asks the process to stop.

    uvicorn waits for every response before it shuts the app down, and that of a stream has no end of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        then = signal.getsignal(number)

        def stop(found: int, frame: FrameType | None, then: Any = then) -> None:
            loop.call_soon_threadsafe(end)
            if callable(then):
                then(found, frame)

        if callable(then):
            signal.signal(number, stop)


def _spare_the_collector() -> None:
    """Take what was made at the start out of the garbage collector's rounds.

    It stays for good, and going through it at every full collection stopped all requests for 40 ms (ADR 6).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def worker_app() -> FastAPI:
    """Return the app of one server process; uvicorn calls this in each."""
    _log_plainly()
    return http_app(start(read_settings()))


def _log_plainly() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def serve(*, host: str, port: int, database: str | None, workers: int, demo: bool) -> None:
    """Serve HTTP until a signal says stop."""
    if database:
        os.environ[f"{PREFIX}DATABASE_URL"] = database
    settings = read_settings()
    # What would keep the service from starting is found here, once, and not in each worker.
    with _in_background(settings) as (running, background):
        _key_finder(settings)
        _rate_limits(settings)
        if demo:
            _register_demo(running.store, background)
            print(_demo_greeting(settings, host, port), flush=True)  # noqa: T201
    uvicorn.run(
        WORKER_APP,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
    )


def sign_token(*, subject: str, clients: list[str], permissions: list[str], lifetime: timedelta) -> str:
    """Return a token signed with the service's own key. Raises WrongSettings where a key set is in use."""
    settings = read_settings()
    if settings.jwks_url or settings.jwks_file:
        raise WrongSettings(
            "tokens come from the issuer of the key set; this service accepts none of its own"
        )
    try:
        key = TokenKey(settings.token_key_file)
    except (OSError, ValueError) as error:
        raise WrongSettings(f"the key for tokens cannot be read: {error}") from error
    return key.sign(
        subject=subject,
        clients=clients,
        permissions=permissions or PERMISSIONS,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now=system_clock(),
        lifetime=lifetime,
    )


def run_expiry() -> ExpiryReport | None:
    """Say now which tickets end soon or have ended; None where another process does it."""
    with _in_background(read_settings()) as (running, background):
        return _expire(running, background.submit)


def import_from(
    lines: Iterable[str], client_ext_id: str, *, actor: str, dry_run: bool, report: ImportReport
) -> None:
    """Register the users of a CSV file. Raises NoImport, Unavailable, WrongSettings."""
    importing = partial(
        import_users,
        lines,
        client_ext_id,
        actor=actor,
        correlation_id=new_traceparent(),
        new_command_id=lambda: secrets.token_hex(16),
        report=report,
    )
    if dry_run:
        importing(submit=None)
        return
    with _in_background(read_settings()) as (_, background):
        importing(submit=background.submit)


def _register_demo(store: Store, background: Background) -> None:
    if not store.is_empty():
        return
    terms: dict[str, Any] = {"subject": DEMO, "actor": "demo", "correlation_id": "", "request_digest": ""}
    background.execute(
        RegisterUser(**terms, command_id=secrets.token_hex(16), email="user-123@example.com", name="Una User")
    )
    background.execute(CreateTicket(**terms, command_id=secrets.token_hex(16), reason="demo"))


def _demo_greeting(settings: Settings, host: str, port: int) -> str:
    token = sign_token(
        subject="demo", clients=[DEMO.client_ext_id], permissions=[], lifetime=_DEMO_TOKEN_LIFETIME
    )
    url = f"http://{host}:{port}{BASE_PATH}/{DEMO.client_ext_id}/users/{DEMO.user_ext_id}/ticket/reset"
    return (
        f"\nReset the ticket of {DEMO.user_ext_id} (the token is good for 8 hours):\n\n"
        f"curl -i -X POST {url} -H 'Authorization: Bearer {token}'\n\n"
        f"Each new ticket is mailed into {settings.mail_dir}/. All operations: http://{host}:{port}/docs\n"
    )


def _watched(background: Background, client: str, user: str, operation: str) -> Subject:
    """Keep that somebody reads what is watched, by the command line."""
    subject = Subject(client, user)
    background.execute(
        NoteAccess(
            subject=subject,
            actor=f"command line: {getpass.getuser()}",
            correlation_id=new_traceparent(),
            command_id=secrets.token_hex(16),
            request_digest="",
            operation=operation,
            outcome=READ,
        )
    )
    return subject


def show_history(client: str, user: str) -> list[HistoryItem]:
    """Return all that happened to a user's ticket. Raises TicketUnknown, Unavailable, WrongSettings."""
    with _in_background(read_settings()) as (running, background):
        subject = _watched(background, client, user, "tickets history")
        return list(history(subject, ledger=running.store))


def show_past(client: str, user: str, at: datetime | None, version: int | None) -> str:
    """Return a ticket as it was, as JSON. Raises TicketUnknown, Unavailable, WrongSettings."""
    with _in_background(read_settings()) as (running, background):
        subject = _watched(background, client, user, "tickets replay")
        moment = at or (None if version else system_clock())
        row, now = past_ticket(subject, store=running.store, clock=system_clock, at=moment, version=version)
        return to_json(to_response(row, now))


def export_log(
    client: str, begin: datetime | None, end: datetime | None, tell: Callable[[int, int], None]
) -> Iterator[LogItem]:
    """Yield the entries of a client's ledger in a time. Raises Unavailable, WrongSettings."""
    with _in_background(read_settings()) as (running, background):
        _watched(background, client, "", "tickets audit export")
        ledger, position = running.store, 0
        size = ledger.size(client)
        query = HistoryQuery(client, begin=begin, end=end)
        while found := ledger.search(query, position, _EXPORTED_AT_ONCE):
            for entry in found:
                yield log_item(entry, ledger.event(entry))
            position = found[-1].position
            tell(position, size)


def sign_now(client: str) -> str:
    """Return a checkpoint of a client's ledger as it is now. Raises LedgerBroken, NothingToSign and as start does."""
    with _in_background(read_settings()) as (running, _):
        made = make_checkpoint(client, ledger=running.store, signer=running.keys, clock=system_clock)
        if made is None:
            raise TicketUnknown(f"Client {client!r} has no ledger: nothing ever happened in it.")
        send_checkpoints(ledger=running.store, witnesses=_witnesses(running.settings))
        return made.note


def export_evidence(client: str, user: str, since: int | None) -> bytes:
    """Return the evidence of a user's ticket. Raises TicketUnknown, LedgerBroken, Unavailable, WrongSettings."""
    with _in_background(read_settings()) as (running, background):
        subject = _watched(background, client, user, "tickets evidence export")
        return make_evidence(
            subject, ledger=running.store, signer=running.keys, clock=system_clock, since=since
        )


def check_record(checkpoints: Sequence[Path], tell: Callable[[int, int], None]) -> Findings:
    """Compare the whole record with itself and with what was signed. Raises Unavailable, WrongSettings."""
    settings = read_settings()
    keys, store = _ledger_keys(settings), _open_store(settings)
    findings = Findings()
    try:
        verifier = NoteVerifier([key for _, key in keys.public()])
        outside = read_checkpoints(
            [*checkpoints, *([settings.checkpoint_dir] if settings.checkpoint_dir else [])]
        )
        clients = [client for client, _ in store.sizes()]
        clients += sorted({checkpoint.client_ext_id for checkpoint in outside} - set(clients))
        for client in clients:
            mine = [checkpoint for checkpoint in outside if checkpoint.client_ext_id == client]
            findings.add(check_ledger(client, ledger=store, verifier=verifier, outside=mine))
        findings.faults.extend(store.strays())
        for part in _in_parts(check_part, settings.database_url, clients, tell):
            findings.add(part)
    finally:
        store.close()
    return findings


def rebuild_rows(tell: Callable[[int, int], None]) -> int:
    """Make the read model anew from the events. Returns how many rows. Raises Unavailable, WrongSettings."""
    settings = read_settings()
    store = _open_store(settings)
    clients = [client for client, _ in store.sizes()]
    store.close()
    return sum(_in_parts(rebuild_part, settings.database_url, clients, tell))


def _in_parts(
    work: Callable[[str, str, UUID, UUID], Result],
    database_url: str,
    clients: Sequence[str],
    tell: Callable[[int, int], None],
) -> Iterator[Result]:
    """Do the work for every range of streams of every client, in as many processes as there are cores."""
    parts = [(client, *streams) for client in clients for streams in stream_ranges(_PARTS)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, database_url, *part) for part in parts]
        for done, future in enumerate(futures, start=1):
            yield future.result()
            tell(done, len(parts))


def check_part(database_url: str, client: str, begin: UUID, end: UUID) -> Findings:
    """Check a range of streams, in a process of its own."""
    store = _open(database_url)
    try:
        return check_streams(client, begin, end, ledger=store)
    finally:
        store.close()


def rebuild_part(database_url: str, client: str, begin: UUID, end: UUID) -> int:
    """Rebuild a range of streams, in a process of its own."""
    store = _open(database_url)
    try:
        return rebuild(client, begin, end, ledger=store)
    finally:
        store.close()


def follow_feed(
    client: str, *, after: int, cursor: Path | None, types: frozenset[str] | None, tell: Callable[[str], None]
) -> Generator[bytes | None]:
    """Yield the events of a client as JSON, None whenever there are no more.

    The cursor moves when the next one is asked for. Raises PositionUnknown, CursorRefused, Unavailable, WrongSettings.
    """
    settings = read_settings()
    source = f"{settings.ledger_name}/{quote(client, safe='')}"
    with _store_alone(settings) as store, open_cursor(cursor, source) if cursor else nullcontext() as kept:
        query = FeedQuery(client, kept.position(client) if kept else after, types)
        for event in follow(query, ledger=store, origin=settings.ledger_name, tell=tell):
            yield event.content if event else None
            if event and kept:
                kept.move(client, event.position)
                with _uninterrupted():
                    kept.keep()


@contextmanager
def _store_alone(settings: Settings) -> Iterator[SqliteStore | PostgresStore]:
    try:
        store = _open_store(settings)
    except (OSError, RuntimeError) as error:
        raise WrongSettings(str(error)) from error
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a signal wait, so that an end that is asked for leaves nothing half-done."""
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def publish_feeds(*, to: str, clients: list[str], topic: str, stream: str, cursor: Path | None) -> None:
    """Publish until a signal says stop. Raises PositionUnknown, CursorRefused, WrongSettings."""
    _log_plainly()
    settings = read_settings()
    try:
        url = parse_broker_url(Path(to[1:]).read_text().strip() if to.startswith("@") else to)
    except (OSError, ValueError) as error:
        raise WrongSettings(f"--to: {error}") from None
    place = f"topic {topic}" if url.is_kafka else f"stream {stream}, subjects {topic}.>"
    path = cursor or Path(f"var/publish-{url.extra}.json")
    uvloop.run(_publish(settings, _broker(url, topic, stream), f"{url.address} {place}", clients, path))


def _broker(url: BrokerUrl, topic: str, stream: str) -> Broker:
    """Return the broker's adapter, whose library is there only where the extra is installed."""
    try:
        if url.is_kafka:
            from interface.outbound.kafka_broker import KafkaBroker  # noqa: PLC0415

            return KafkaBroker(url, topic)
        from interface.outbound.nats_broker import NatsBroker  # noqa: PLC0415

        return NatsBroker(url, stream, topic)
    except ModuleNotFoundError:
        raise WrongSettings(
            f"{url.scheme}:// needs a library: pip install 'ticket-credential-service[{url.extra}]'"
        ) from None


async def _publish(settings: Settings, broker: Broker, target: str, clients: list[str], cursor: Path) -> None:
    patience = Patience(asyncio.Event(), SystemRandomness())
    loop, publishing = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())

    def stop() -> None:
        patience.stop.set()
        loop.call_later(_PUBLISHER_STOPS_WITHIN_SECONDS, publishing.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        while not patience.stop.is_set():
            try:
                with _store_alone(settings) as store:
                    await publish(
                        store=store,
                        ledger=store,
                        broker=broker,
                        open_cursor=partial(open_cursor, cursor, target),
                        target=target,
                        origin=settings.ledger_name,
                        clients=clients,
                        patience=patience,
                    )
            except Unavailable as error:
                await patience.wait(error)


def push_alone() -> None:
    """Push to subscriptions until a signal says stop. Raises WrongSettings."""
    _log_plainly()
    running = start(read_settings().model_copy(update={"deliver": False}))
    uvloop.run(_push_until_stopped(running))


async def _push_until_stopped(running: Running) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    live = LiveFeed(running.store, running.settings.ledger_name)
    pushing = loop.create_task(_push(running, live))
    await stopped.wait()
    await _cancelled(pushing)
    await live.close()
    await running.commands.close()
    await asyncio.to_thread(running.close)


def main() -> None:
    """Run the command line."""
    audit = AuditActions(
        history=show_history,
        past_ticket=show_past,
        check=check_record,
        rebuild=rebuild_rows,
        export=export_log,
        checkpoint=sign_now,
        evidence=export_evidence,
        public_keys=lambda: _ledger_keys(read_settings()).public(),
        rotate=lambda: _ledger_keys(read_settings()).rotate(),
    )
    actions = Actions(
        serve=serve,
        sign_token=sign_token,
        run_expiry=run_expiry,
        import_users=import_from,
        audit=audit,
        feed=FeedActions(follow=follow_feed, publish=publish_feeds, push=push_alone),
    )
    try:
        build_cli(actions)()
    except (WrongSettings, NoImport, Unavailable, Refusal, LedgerBroken, CursorRefused) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
