"""The AsyncAPI 3 document: the events of subscribers, and their channels."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from application.feed.event_reference import data_schema, meaning
from application.feed.formats import CLOUD_EVENTS
from application.feed.formats.cloud_events import CloudEvent
from application.record.streams import EVENTS
from application.subscriptions.security_event import TYPES as SECURITY_TYPES
from domain.shared.event import Event
from interface.http.core.path import BASE_PATH

_SCHEMA = "#/components/schemas/{model}"
_DESCRIPTION = """\
The events of a client, each at its position in the client's ledger: 1, 2, 3 … without a gap. Each event names
the preceding one in `previous`, so a subscriber detects a missing event. Every channel carries each event at
least once, in order, and is resumed by the position.
"""
_CLIENT = {"clientExtId": {"description": "External ID of the client."}}


@cache
def document(title: str, version: str, public_url: str) -> dict[str, Any]:
    """Return the AsyncAPI document of the service, created once."""
    messages = {topic: _message(topic, event) for topic, event in EVENTS.items()}
    all_messages = {topic: {"$ref": f"#/components/messages/{topic}"} for topic in messages}
    security_messages = {name: all_messages[name] for name in SECURITY_TYPES}
    _, definitions = TypeAdapter.json_schemas(
        [(CloudEvent, "serialization", TypeAdapter(CloudEvent))], ref_template=_SCHEMA
    )
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": _DESCRIPTION},
        "defaultContentType": CLOUD_EVENTS.event_media_type,
        "servers": _servers(public_url),
        "channels": _channels(all_messages, security_messages),
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _servers(public_url: str) -> dict[str, Any]:
    scheme, _, host = public_url.partition("://")
    return {
        "service": {
            "host": host,
            "protocol": scheme,
            "security": [{"$ref": "#/components/securitySchemes/token"}],
        },
        "nats": {
            "host": "nats.example:4222",
            "protocol": "nats",
            "description": "The server of `tickets publish --to nats://…`.",
        },
        "kafka": {
            "host": "kafka.example:9092",
            "protocol": "kafka",
            "description": "The server of `tickets publish --to kafka://…`.",
        },
    }


def _channels(all_messages: dict[str, Any], security_messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "stream": _channel(
            f"{BASE_PATH}/{{clientExtId}}/events/stream",
            "Server-sent events: `data` is a CloudEvent, `id` its position; resumed by `Last-Event-ID`.",
            "service",
            all_messages,
        ),
        "feed": _channel(
            f"{BASE_PATH}/{{clientExtId}}/events",
            "Pages of CloudEvents after a position, by long poll (`after`, `limit`, `wait`, `types`).",
            "service",
            all_messages,
        ),
        "webhook": {
            "address": None,
            "description": "POST to the URL of a subscription, signed according to Standard Webhooks.",
            "messages": all_messages,
        },
        "securityEvents": {
            "address": None,
            "description": "CAEP `credential-change` tokens made from these events, pushed (RFC 8935) or polled "
            "(RFC 8936); Shared Signals 1.0.",
            "messages": security_messages,
        },
        "nats": _channel(
            "tickets.{clientExtId}.{type}",
            "JetStream subjects; `Nats-Msg-Id` is client and position.",
            "nats",
            all_messages,
            type={"description": "The type of the event.", "enum": list(EVENTS)},
        ),
        "kafka": {
            "address": "tickets",
            "description": "A topic whose key is the credential.",
            "servers": [{"$ref": "#/servers/kafka"}],
            "messages": all_messages,
        },
    }


def _operations() -> dict[str, Any]:
    return {
        f"send-{channel}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": summary,
        }
        for channel, summary in (
            ("stream", "Live events"),
            ("feed", "Past events"),
            ("webhook", "Events to a subscription"),
            ("securityEvents", "Changes of credentials to a stream of Shared Signals"),
            ("nats", "Events to NATS JetStream"),
            ("kafka", "Events to Kafka"),
        )
    }


def _channel(
    address: str, description: str, server: str, messages: dict[str, Any], **parameters: Any
) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "parameters": _CLIENT | parameters,
        "messages": messages,
    }


def _message(topic: str, event: type[Event]) -> dict[str, Any]:
    narrowed = {"properties": {"type": {"const": topic}, "data": data_schema(topic)}}
    return {
        "name": topic,
        "title": topic,
        "summary": meaning(event),
        "contentType": CLOUD_EVENTS.event_media_type,
        "payload": {"allOf": [{"$ref": "#/components/schemas/CloudEvent"}, narrowed]},
    }
