"""The actions of the commands for subscriptions, and pushing beside a server."""

import asyncio
import secrets
from functools import partial

import typer
import uvloop

from application.feed.live_feed import LiveFeed
from application.shared.retries import Retries
from application.subscriptions.control_subscription import ChangeSubscriptionStatus
from application.subscriptions.push import Pusher
from application.subscriptions.push_ports import PushPorts
from application.subscriptions.security_event import SecurityEvents
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method, Status, SubscriptionKey
from interface.cli.subscriptions import commands
from interface.composition.process import until_stopped
from interface.composition.service import RunningService, configure_logging, start
from interface.composition.sqlite_version import warn_of_sqlite
from interface.http.ssf.urls import issuer
from interface.outbound.http_out.outgoing_http import OutgoingHttp
from interface.outbound.http_out.set_sender import SetSender
from interface.outbound.http_out.webhook_sender import WebhookSender
from interface.outbound.system import jitter, system_clock
from interface.settings import read_settings
from interface.trace_context import new_traceparent


async def push(running: RunningService, live: LiveFeed) -> None:
    """Push to subscriptions until cancelled."""
    settings = running.settings
    http = OutgoingHttp(settings.private_hosts, timeout_seconds=settings.push_timeout_seconds)
    events = SecurityEvents(partial(issuer, settings.public_url), running.set_keys, system_clock)
    sets = SetSender(http, events)
    ports = PushPorts(
        subscriptions=running.store,
        live=live,
        sealer=running.sealer,
        senders={Method.WEBHOOK: WebhookSender(http, system_clock), Method.SET_PUSH: sets},
        park=partial(_park, running),
        retries=Retries.of(
            settings.push_retry_seconds,
            settings.push_longest_wait_seconds,
            settings.push_give_up_hours,
            jitter,
        ),
        clock=system_clock,
    )
    try:
        await Pusher(running.store, ports, sets.compose_notice).run()
    finally:
        await http.close()


async def _park(running: RunningService, key: SubscriptionKey, version: int, reason: str) -> None:
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


def push_alone() -> None:
    """Push to subscriptions until a stop signal. Raises InvalidSettings."""
    settings = read_settings()
    configure_logging(settings)
    running = start(settings)
    warn_of_sqlite(settings)
    uvloop.run(_push_until_stopped(running))


async def _push_until_stopped(running: RunningService) -> None:
    live = LiveFeed(running.reads, running.settings.ledger_name, running.settings.public_url)
    await until_stopped(push(running, live))
    await live.close()
    await running.commands.close()
    await asyncio.to_thread(running.close)


def add_commands(cli: typer.Typer) -> None:
    """Add the command."""
    commands.add_commands(cli, commands.SubscriptionActions(push=push_alone))
