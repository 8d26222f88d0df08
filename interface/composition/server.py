"""The server: the HTTP edge over the service, and its processes."""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from tempfile import TemporaryDirectory
from typing import cast

import typer
import uvicorn
from fastapi import FastAPI

from interface.cli.operations import server as commands
from interface.composition.delivery import delivery_of
from interface.composition.demo import DEMO, demo_greeting, register_demo
from interface.composition.http_app import http_app, rate_limits_of, token_keys
from interface.composition.register import PERMISSIONS
from interface.composition.service import (
    configure_logging,
    in_background,
    listable_directories,
    open_files,
    start,
)
from interface.composition.sqlite_version import warn_of_sqlite
from interface.composition.templates import templates
from interface.composition.tls import check_certificate, tls_context
from interface.composition.workers import Workers
from interface.http.core.bounded_protocol import BoundedProtocol
from interface.http.core.secure_headers import NOTHING, secure_headers
from interface.outbound.keys.token_key import TokenKey
from interface.outbound.system import system_clock
from interface.settings import PREFIX, InvalidSettings, Settings, read_settings
from interface.telemetry.metrics import MULTIPROCESS_DIR

log = logging.getLogger(__name__)

_DEMO_TOKEN_LIFETIME = timedelta(hours=8)
_WORKER_HANGS_AFTER_SECONDS = 60
_MEMORY = "/dev/shm"  # noqa: S108 - only a fresh directory in it is used
# A multiple of the time limit of streams.
_STREAMS_END_WITHIN = 5
# The application of each server process; the bench replaces it.
WORKER_APP = "interface.composition.server:worker_app"


def worker_app() -> FastAPI:
    """Return the app of one server process; uvicorn calls this in each."""
    settings = read_settings()
    configure_logging(settings)
    return http_app(start(settings))


def serve(*, host: str, port: int, database: str | None, workers: int, demo: bool) -> None:
    """Serve HTTP until a stop signal."""
    if database:
        os.environ[f"{PREFIX}DATABASE_URL"] = database
    settings = read_settings()
    configure_logging(settings)
    _check(settings)
    listening = _bind(host, port)
    here = f"{'https' if settings.tls_cert_file else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    # Detect here, once, every error that would prevent the start of the workers.
    with in_background(settings, with_outbox=True) as (running, background):
        token_keys(settings)
        delivery_of(settings)
        if demo:
            register_demo(running.store, background)
            token = sign_token(
                subject="demo", clients=[DEMO.client_ext_id], permissions=[], lifetime=_DEMO_TOKEN_LIFETIME
            )
            print(demo_greeting(settings, token, here), flush=True)  # noqa: T201
    for warning in listable_directories():
        log.warning("%s", warning)
    if workers > 1:
        warn_of_sqlite(settings)
    # uvicorn raises the stop signal again after its shutdown.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _raise_file_limit()
    with _shared_metrics(workers):
        _run_uvicorn(settings, listening, workers, here)


def _check(settings: Settings) -> None:
    """Check the settings that need no store, before one is created or migrated. Raises InvalidSettings."""
    if open_files(settings):
        return  # the start reports them before all other faults
    rate_limits_of(settings)
    check_certificate(settings)
    templates(settings)
    if settings.jwks_file or settings.token_key_file.exists():
        token_keys(settings)


def _bind(host: str, port: int) -> socket.socket:
    """Return the socket of the address, not yet listening. Raises InvalidSettings."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InvalidSettings(f"cannot listen on {host} port {port}: {error.strerror}") from error
    listening.set_inheritable(True)
    return listening


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Let several processes share their metrics."""
    if workers == 1 or MULTIPROCESS_DIR in os.environ:
        yield
        return
    # In memory if possible: the files are mapped, and a write to one that a full disk cannot hold raises SIGBUS.
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="tickets-metrics-", dir=memory) as directory:
        os.environ[MULTIPROCESS_DIR] = directory
        yield


def _raise_file_limit() -> None:
    """Every connection needs a file descriptor, and a shell or systemd allows 1024 unless a process requests more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _protocol(settings: Settings) -> Callable[..., BoundedProtocol]:
    return partial(
        BoundedProtocol,
        patience_seconds=settings.request_patience_seconds,
        # A stream needs additional time to send the reason for its end.
        reader_patience_seconds=settings.stream_patience_seconds * _STREAMS_END_WITHIN,
        headers=secure_headers(NOTHING, settings.hsts_max_age),
    )


class _Server(uvicorn.Server):
    """Logs the address after the start."""

    def __init__(self, config: uvicorn.Config, here: str) -> None:
        super().__init__(config)
        self._here = here

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        if self.started:
            log.info("serving on %s", self._here)


def _run_uvicorn(settings: Settings, listening: socket.socket, workers: int, here: str) -> None:
    config = uvicorn.Config(
        WORKER_APP,
        factory=True,
        workers=workers,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", _protocol(settings)),
        access_log=False,
        # The logs of uvicorn have the format of the service's logs.
        log_config=None,
        log_level="warning",
        server_header=False,
        # By default, uvicorn trusts proxy headers from the same machine.
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        ssl_context_factory=tls_context if settings.tls_cert_file else None,
        # The rest is left for the service's own shutdown.
        timeout_graceful_shutdown=max(1, settings.grace_seconds * 2 // 3),
        # By default, uvicorn kills a worker that does not respond within five seconds. On a busy machine the imports
        # alone take longer, and the worker would be restarted forever.
        timeout_worker_healthcheck=_WORKER_HANGS_AFTER_SECONDS,
    )
    if workers > 1:
        log.info("serving on %s", here)
        Workers(config, [listening]).run()
        return
    server = _Server(config, here)
    with suppress(KeyboardInterrupt):  # raised by SIGINT after the shutdown
        server.run([listening])
    if not server.started:
        raise SystemExit(1)


def sign_token(*, subject: str, clients: list[str], permissions: list[str], lifetime: timedelta) -> str:
    """Return a token signed with the service's own key. Raises InvalidSettings."""
    if unknown := sorted(set(permissions).difference(PERMISSIONS)):
        raise InvalidSettings(f"unknown permission {unknown[0]!r}; expected one of {', '.join(PERMISSIONS)}")
    settings = read_settings()
    if settings.jwks_url or settings.jwks_file:
        raise InvalidSettings(
            "tokens come from the issuer of the key set; the service does not accept its own tokens"
        )
    try:
        key = TokenKey(settings.token_key_file)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"the key for tokens cannot be read: {error}") from error
    return key.sign(
        subject=subject,
        clients=clients,
        permissions=permissions or PERMISSIONS,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now=system_clock(),
        lifetime=lifetime,
    )


def add_commands(cli: typer.Typer) -> None:
    """Add the commands."""
    commands.add_commands(cli, commands.ServerActions(serve=serve, sign_token=sign_token))
