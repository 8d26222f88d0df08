"""Kafka: one topic for all events, in order per credential."""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from application.feed.broker import BrokerUnavailable
from application.feed.feed_event import FeedEvent
from application.feed.formats import CLOUD_EVENTS
from application.record.eras import EventId
from interface.outbound.brokers.broker_url import BrokerUrl

_REQUEST_TIMEOUT_SECONDS = 10
# Longer than the request timeout, so that a failed request reports its cause.
_RESPONSE_TIMEOUT_SECONDS = 15
_CLOSE_TIMEOUT_SECONDS = 2
_HEADERS = [("content-type", CLOUD_EVENTS.event_media_type.encode())]

# aiokafka logs an unreachable broker ten times a second; the publisher logs it once per attempt.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class KafkaBroker:
    """Implements the port Broker. The key is the credential, or the client if an event concerns no user.

    An event is sent after the previous one of its key is acknowledged. The producer retries by itself and without
    duplicates, so it and its unsent messages are kept as long as it lives.
    """

    def __init__(self, url: BrokerUrl, topic: str) -> None:
        self._url = url
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._pending: dict[tuple[str, int], asyncio.Future[Any]] = {}

    async def connect(self) -> None:
        """Connect, unless the producer lives. Raises BrokerUnavailable."""
        if self._producer:
            return
        producer = AIOKafkaProducer(
            bootstrap_servers=list(self._url.hosts),
            enable_idempotence=True,
            acks="all",
            request_timeout_ms=_REQUEST_TIMEOUT_SECONDS * 1000,
            **self._security(),
        )
        try:
            async with asyncio.timeout(_RESPONSE_TIMEOUT_SECONDS):
                await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise self._unavailable(error) from error
        self._producer = producer

    async def newest(self, _: str) -> EventId | None:
        """Return None: a topic cannot be queried for a client's newest message."""
        return None

    async def publish(self, client_ext_id: str, events: Sequence[FeedEvent]) -> None:
        """Send the events of each key one after the other. Raises BrokerUnavailable."""
        by_key: dict[str, list[FeedEvent]] = defaultdict(list)
        for event in events:
            by_key[_key(client_ext_id, event)].append(event)
        tasks = (self._send_all(client_ext_id, key, key_events) for key, key_events in by_key.items())
        for failure in await asyncio.gather(*tasks, return_exceptions=True):
            if failure:
                raise failure

    async def _send_all(self, client_ext_id: str, key: str, events: Sequence[FeedEvent]) -> None:
        for event in events:
            try:
                async with asyncio.timeout(_RESPONSE_TIMEOUT_SECONDS):
                    await self._send(client_ext_id, key, event)
            except TimeoutError as error:
                raise self._unavailable(error) from error
            except KafkaError as error:
                await self.close()
                raise self._unavailable(error) from error

    async def _send(self, client_ext_id: str, key: str, event: FeedEvent) -> None:
        identity = (client_ext_id, event.position)
        if identity not in self._pending:
            if self._producer is None:
                raise BrokerUnavailable(f"{self._url} is not connected")
            self._pending[identity] = await self._producer.send(
                self._topic,
                CLOUD_EVENTS.encode_event(event, event.position - 1),
                key=key.encode(),
                headers=_HEADERS,
            )
        await asyncio.shield(self._pending[identity])
        self._pending.pop(identity, None)

    async def close(self) -> None:
        """Close the producer, after at most a few seconds for its unsent messages."""
        producer, self._producer = self._producer, None
        self._pending.clear()
        if producer:
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
                    await producer.stop()
            except (KafkaError, TimeoutError):
                await producer.client.close()

    def _security(self) -> dict[str, Any]:
        secure = self._url.scheme == "kafka+ssl"
        tls = {"ssl_context": ssl.create_default_context()} if secure else {}
        if self._url.user is None:
            return {"security_protocol": "SSL" if secure else "PLAINTEXT", **tls}
        return {
            "security_protocol": "SASL_SSL" if secure else "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": self._url.user,
            "sasl_plain_password": self._url.password or "",
            **tls,
        }

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        reason = str(error) or f"no response within {_RESPONSE_TIMEOUT_SECONDS} s"
        return BrokerUnavailable(f"{self._url}: {reason}")


def _key(client_ext_id: str, event: FeedEvent) -> str:
    parts = [client_ext_id, event.user_ext_id] if event.user_ext_id else [client_ext_id]
    return "/".join(quote(part, safe="") for part in parts)
