"""Logs: one JSON object per line, or text for people, with the ids of the request that they belong to."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from interface.http.core.envelope import AT_HAND, Exchange

_log = structlog.stdlib.get_logger("tickets.requests")


def log_to_stderr(*, as_json: bool) -> None:
    """Log to the standard error from now on, what libraries log, too. Local variables are in no traceback."""
    shared: list[Processor] = [
        _of_a_request,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, timestamp_key="time")
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def _of_a_request(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say of which request it is, if it is of one."""
    if at_hand := AT_HAND.get(None):
        event["request_id"], event["correlation_id"] = at_hand
    return event


def log_request(exchange: Exchange) -> None:
    """Log a request: what was done for whom, and not about which user."""
    _log.info(
        "request",
        operation=exchange.operation,
        method=exchange.method,
        status=exchange.status,
        milliseconds=round(exchange.seconds * 1000, 1),
        actor=exchange.actor,
        client=exchange.client_ext_id,
        address=exchange.address,
    )
