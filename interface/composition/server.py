"""The server: the HTTP edge over the service, and the processes that run it."""

import asyncio
import gc
import logging
import multiprocessing
import os
import resource
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, cast

import jwt
import typer
import uvicorn
from fastapi import FastAPI

from application.feed.live_feed import LiveFeed
from application.record.access_log import AccessNotes
from application.record.checkpoint import Sending
from application.shared.errors import Unavailable
from application.shared.periodic import Periodic
from application.tickets.create_ticket import CreateTicket
from application.transaction.command import Answer, Command
from application.transaction.group_commit import Background
from application.transaction.group_read import GroupRead
from application.transaction.store import Store
from application.users.register_user import RegisterUser
from domain.shared.subject import Subject
from interface.cli.operations import server as commands
from interface.composition.delivery import deliver, delivery_of
from interface.composition.jobs import cancelled, expire, push, send_signed, sign_ledgers, witnesses
from interface.composition.register import Edge, rooms
from interface.composition.service import Running, in_background, log_as_set, start
from interface.composition.telemetry import Telemetry, probe_of
from interface.composition.tls import check_certificate, tls_context
from interface.composition.workers import SIGNALLED, Workers
from interface.http.core.app import create_app
from interface.http.core.authentication import KeyFinder, TokenVerifier, keys_from_set, keys_from_url
from interface.http.core.bounded_protocol import OBSERVE, BoundedProtocol
from interface.http.core.call import Service
from interface.http.core.path import BASE_PATH
from interface.http.core.permissions import PERMISSIONS
from interface.http.core.rate_limits import RateLimits
from interface.http.core.secure_headers import NOTHING, secure_headers
from interface.http.tickets.slow_hashing import SlowHashing
from interface.outbound.keys.argon2_hash import Argon2Hash
from interface.outbound.keys.token_key import TokenKey
from interface.outbound.system import SystemRandomness, system_clock
from interface.settings import PREFIX, Settings, WrongSettings, read_settings
from interface.telemetry.metrics import MULTIPROCESS_DIR

log = logging.getLogger(__name__)
DEMO = Subject("client-123", "user-123")
_CHECKPOINTS_EVERY_SECONDS = 5
# At a stop: one that is being sent then is sent again by who comes next, which every witness takes.
_WAIT_FOR_WITNESSES_SECONDS = 1
_FLUSH_EVERY_SECONDS = 60
_LOOK_EVERY_SECONDS = 1
_DEMO_TOKEN_LIFETIME = timedelta(hours=8)
_WORKER_HANGS_AFTER_SECONDS = 60
_MEMORY = "/dev/shm"  # noqa: S108 - only a fresh directory in it is used
# A young collection per some 100 requests, in place of several per request.
_GC_THRESHOLDS = (10_000, 20, 20)
# Of their patience.
_STREAMS_END_WITHIN = 5
# What each server process runs; the bench names an app of its own here.
WORKER_APP = "interface.composition.server:worker_app"


def http_app(running: Running) -> FastAPI:
    """Return the HTTP edge over the service; it closes the service when it shuts down."""
    settings = running.settings
    notes = AccessNotes(running.commands.execute, system_clock)
    live = LiveFeed(running.reads, settings.ledger_name)
    delivery = delivery_of(settings) if settings.deliver else None
    telemetry, probe = Telemetry(running), probe_of(running)
    running.commands.observe = telemetry.batch

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        loop = asyncio.get_running_loop()

        def submit(command: Command) -> Future[Answer]:
            return asyncio.run_coroutine_threadsafe(running.commands.execute(command), loop)

        stopping = threading.Event()
        expiry = Periodic(
            "expiry",
            partial(expire, running, submit, stopping.is_set),
            every_seconds=settings.expiry_every_seconds,
        )
        signing = Periodic(
            "checkpoints",
            partial(sign_ledgers, running, stopping.is_set),
            every_seconds=_CHECKPOINTS_EVERY_SECONDS,
        )
        sending = _sending(running, telemetry, stopping.is_set)
        flushing = loop.create_task(_flush_again_and_again(notes))
        looking = loop.create_task(_look_again_and_again(telemetry))
        _spare_the_collector()
        pushing = loop.create_task(push(running, live)) if settings.push else None
        delivering = loop.create_task(deliver(running, delivery, telemetry.tried)) if delivery else None

        def end() -> None:
            stopping.set()
            probe.stop()
            live.stop()

        _before_a_stop(end, settings.grace_seconds)
        yield {OBSERVE: telemetry.request}
        stopping.set()
        # The requests are over, and nothing that comes now shall keep what they counted from being stored.
        flushing.cancel()
        looking.cancel()
        await _flush(notes)
        # Who still has something to store ends before the commands do.
        ending = [cancelled(task) for task in (pushing, delivering) if task]
        for error in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(error, Exception):
                log.error("did not end well", exc_info=error)
        await asyncio.to_thread(expiry.close)
        # Of requests that uvicorn waited for no longer.
        await _flush(notes)
        await running.commands.close()
        await live.close()
        await asyncio.to_thread(signing.close)
        if sending:
            await asyncio.to_thread(sending.close, _WAIT_FOR_WITNESSES_SECONDS)
        await asyncio.to_thread(running.close)
        await asyncio.to_thread(telemetry.close)

    edge = Edge(
        settings=settings,
        store=running.store,
        reads=running.reads,
        live=live,
        signer=running.keys,
        set_keys=running.set_keys,
        sealer=running.sealer,
        clock=system_clock,
        randomness=SystemRandomness(),
        readiness=probe,
        exposition=telemetry.exposition,
    )
    return create_app(
        Service(
            execute=SlowHashing(running.commands.execute, Argon2Hash()).execute,
            load=GroupRead(running.store).load,
            store=running.reads,
            note_access=notes.note,
            clock=system_clock,
            verifier=TokenVerifier(
                _key_finder(settings),
                issuer=settings.token_issuer,
                audience=settings.token_audience,
                trust_seconds=settings.jwks_lifespan_seconds,
            ),
            rate_limits=_rate_limits(settings),
            new_uuid=SystemRandomness().uuid,
            digest_keys=running.digest_keys,
        ),
        rooms(edge),
        lifespan,
        telemetry.request,
        cors_origins=settings.origins,
        hsts_seconds=settings.insist_on_tls_seconds,
    )


def _sending(running: Running, telemetry: Telemetry, stopped: Callable[[], bool]) -> Periodic | None:
    """Send what is signed beside the signing, which a witness that hangs shall not hold up."""
    known = witnesses(running.settings)
    if not known:
        return None
    send = partial(send_signed, running, Sending(running.store, known), telemetry.unsent, stopped)
    return Periodic("checkpoints to witnesses", send, every_seconds=_CHECKPOINTS_EVERY_SECONDS)


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


async def _flush_again_and_again(notes: AccessNotes) -> None:
    while True:
        await asyncio.sleep(_FLUSH_EVERY_SECONDS)
        await _flush(notes)


async def _look_again_and_again(telemetry: Telemetry) -> None:
    while True:
        telemetry.look()
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _flush(notes: AccessNotes) -> None:
    try:
        await notes.flush()
    except Unavailable as error:
        log.warning("counts of the access log are lost: %s", error)


def _before_a_stop(end: Callable[[], None], grace_seconds: float) -> None:
    """Call `end` on the event loop when a signal asks the process to stop.

    uvicorn waits for every response before it shuts the app down, and that of a stream has no end of its own. A second
    signal ends the process at once, and so does the end of its grace: what was answered is on the disk. To one of
    several workers a second signal says nothing: who signals all of them (a terminal, systemd) signals the process that
    they are under, too, which passes it on.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    stopping = False
    for number in (signal.SIGINT, signal.SIGTERM):
        then = signal.getsignal(number)

        def stop(found: int, frame: FrameType | None, then: Any = then) -> None:
            nonlocal stopping
            if stopping and multiprocessing.parent_process():
                return
            if stopping:
                os._exit(SIGNALLED + found)
            stopping = True
            _end_after(grace_seconds)
            loop.call_soon_threadsafe(end)
            if callable(then):
                then(found, frame)

        if callable(then):
            signal.signal(number, stop)


def _end_after(seconds: float) -> None:
    def end() -> None:
        log.error("not stopped within %g seconds: what is still under way is cut off", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _spare_the_collector() -> None:
    """Take what was made at the start out of the garbage collector's rounds.

    It stays for good, and going through it at every full collection stopped all requests for 40 ms (ADR 6).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def worker_app() -> FastAPI:
    """Return the app of one server process; uvicorn calls this in each."""
    settings = read_settings()
    log_as_set(settings)
    return http_app(start(settings))


def serve(*, host: str, port: int, database: str | None, workers: int, demo: bool) -> None:
    """Serve HTTP until a signal says stop."""
    if database:
        os.environ[f"{PREFIX}DATABASE_URL"] = database
    settings = read_settings()
    log_as_set(settings)
    # What would keep the service from starting is found here, once, and not in each worker.
    with in_background(settings, with_outbox=True) as (running, background):
        _key_finder(settings)
        _rate_limits(settings)
        delivery_of(settings)
        check_certificate(settings)
        if demo:
            _register_demo(running.store, background)
            print(_demo_greeting(settings, host, port), flush=True)  # noqa: T201
    # uvicorn stops, and then raises the signal that it was stopped by once more: by then all is done.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _open_as_many_files_as_allowed()
    with _counts_of(workers):
        _run_uvicorn(settings, host, port, workers)


@contextmanager
def _counts_of(workers: int) -> Iterator[None]:
    """Have several processes count together."""
    if workers == 1 or MULTIPROCESS_DIR in os.environ:
        yield
        return
    # Where they can be: the files are mapped, and who writes into one that the disk has no room for is ended by SIGBUS.
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="tickets-metrics-", dir=memory) as directory:
        os.environ[MULTIPROCESS_DIR] = directory
        yield


def _open_as_many_files_as_allowed() -> None:
    """Every connection is one, and a shell or systemd allows 1024 unless a process asks for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _protocol(settings: Settings) -> Callable[..., BoundedProtocol]:
    return partial(
        BoundedProtocol,
        patience_seconds=settings.request_patience_seconds,
        # A stream tries for some time longer to tell its reader why it ends.
        reader_patience_seconds=settings.stream_patience_seconds * _STREAMS_END_WITHIN,
        headers=secure_headers(NOTHING, settings.insist_on_tls_seconds),
    )


def _run_uvicorn(settings: Settings, host: str, port: int, workers: int) -> None:
    config = uvicorn.Config(
        WORKER_APP,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", _protocol(settings)),
        access_log=False,
        # The logs of uvicorn go where ours go.
        log_config=None,
        log_level="warning",
        server_header=False,
        # By default uvicorn believes whoever calls from the same machine.
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        ssl_context_factory=tls_context if settings.tls_cert_file else None,
        # The rest is for what the service itself has to end.
        timeout_graceful_shutdown=max(1, settings.grace_seconds * 2 // 3),
        # By default uvicorn kills a worker that does not answer it within five seconds, and on a busy machine its imports
        # alone take longer: it is killed and started for ever.
        timeout_worker_healthcheck=_WORKER_HANGS_AFTER_SECONDS,
    )
    if workers > 1:
        Workers(config, [config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # what SIGINT raises when all is done
        server.run()
    if not server.started:
        raise SystemExit(1)


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
    here = f"{'https' if settings.tls_cert_file else 'http'}://{host}:{port}"
    url = f"{here}{BASE_PATH}/{DEMO.client_ext_id}/users/{DEMO.user_ext_id}/ticket/reset"
    return (
        f"\nReset the ticket of {DEMO.user_ext_id} (the token is good for 8 hours):\n\n"
        f"curl -i -X POST {url} -H 'Authorization: Bearer {token}'\n\n"
        f"Each new ticket is mailed {'by your mail server' if settings.smtp_url else f'into {settings.mail_dir}/'}. All operations: {here}/docs\n"
    )


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.ServerActions(serve=serve, sign_token=sign_token))
