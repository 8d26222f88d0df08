"""Logs: one JSON object per line, or text for people, with the ids of the current request."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from interface.http.core.envelope import CURRENT_REQUEST, Exchange

_log = structlog.stdlib.get_logger("tickets.requests")


def log_to_stderr(*, as_json: bool) -> None:
    """Send the logs of the service and its libraries to standard error. Tracebacks contain no local variables."""
    shared: list[Processor] = [
        _add_request_ids,
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


def _add_request_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the ids of the current request, if there is one."""
    if current := CURRENT_REQUEST.get(None):
        event["request_id"], event["correlation_id"] = current
    return event


def log_request(exchange: Exchange) -> None:
    """Log a request without the id of the user that it concerns."""
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
