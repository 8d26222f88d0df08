"""The job that pushes to subscriptions."""

import secrets
from functools import partial

from application.feed.live_feed import LiveFeed
from application.shared.retries import Retries
from application.subscriptions.push import Pusher
from application.subscriptions.security_event import SecurityEvents
from application.subscriptions.subscribe import ChangeSubscriptionStatus
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method, Status, SubscriptionKey
from interface.composition.register.ssf import issuer
from interface.composition.service import RunningService
from interface.outbound.http_out.outgoing_http import OutgoingHttp
from interface.outbound.http_out.set_sender import SetSender
from interface.outbound.http_out.webhook_sender import WebhookSender
from interface.outbound.system import jitter, system_clock
from interface.trace_context import new_traceparent


async def push(running: RunningService, live: LiveFeed) -> None:
    """Push to subscriptions until cancelled."""
    settings = running.settings
    http = OutgoingHttp(settings.private_hosts, timeout_seconds=settings.push_timeout_seconds)
    events = SecurityEvents(partial(issuer, settings.public_url), running.set_keys, system_clock)
    sets = SetSender(http, events)
    pusher = Pusher(
        store=running.store,
        subscriptions=running.store,
        live=live,
        sealer=running.sealer,
        senders={Method.WEBHOOK: WebhookSender(http, system_clock), Method.SET_PUSH: sets},
        compose_notice=sets.compose_notice,
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
        await pusher.run()
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
