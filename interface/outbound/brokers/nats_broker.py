"""NATS JetStream: one stream for all events, which also holds the publisher's progress."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import Header, StreamConfig
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from application.feed.broker import BrokerUnavailable, OutOfSync
from application.feed.feed_event import FeedEvent
from application.feed.formats import CLOUD_EVENTS
from application.record.eras import EventId, parse_event_id
from interface.outbound.brokers.broker_url import BrokerUrl

_CONNECT_TIMEOUT_SECONDS = 5
_ACK_TIMEOUT_SECONDS = 5
_WRONG_LAST_SEQUENCE = 10071

# asyncio warns for every TLS connection of nats-py that half-closing its reader has no effect.
logging.getLogger("asyncio").setLevel(logging.ERROR)


class NatsBroker:
    """Implements the port Broker. Subjects are `<prefix>.<client>.<type>`; a missing stream is created.

    An event is sent after the previous one is acknowledged, with the expected sequence of the newest message of its
    subject. So the server rejects a duplicate however late it arrives, even from a delayed publisher that was replaced
    meanwhile; the duplicate window alone would end after two minutes.
    """

    def __init__(self, url: BrokerUrl, stream: str, prefix: str) -> None:
        self._url = url
        self._stream = stream
        self._prefix = prefix
        self._connection: Client | None = None
        self._sequences: dict[str, dict[str, int]] = defaultdict(dict)
        self._timeouts: set[asyncio.Timeout] = set()

    async def connect(self) -> None:
        """Connect, and create the stream if it is missing. Raises BrokerUnavailable."""
        await self.close()
        async with self._broker_errors():
            self._connection = await nats.connect(
                [f"{self._url.scheme}://{host}" for host in self._url.hosts],
                **self._login(),
                # A failed connection is dropped together with its unsent messages.
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_TIMEOUT_SECONDS,
                error_cb=_ignore,
                closed_cb=self._fail_pending,
            )
            try:
                await self._jetstream.stream_info(self._stream)
            except NotFoundError:
                await self._jetstream.add_stream(
                    StreamConfig(name=self._stream, subjects=[f"{self._prefix}.>"])
                )

    async def newest(self, client_ext_id: str) -> EventId | None:
        """Return the event of the client's newest message; None if its messages may have been deleted."""
        token = subject_token(client_ext_id)
        self._sequences.pop(token, None)
        async with self._broker_errors():
            try:
                newest = await self._jetstream.get_last_msg(self._stream, f"{self._prefix}.{token}.*")
            except NotFoundError:
                state = (await self._jetstream.stream_info(self._stream)).state
                return None if state.first_seq > 1 or state.num_deleted else EventId(0)
        try:
            return parse_event_id((newest.headers or {})[Header.MSG_ID].rpartition(":")[2])
        except (ValueError, KeyError):
            raise BrokerUnavailable(
                f"{self._url} has an unknown message with subject {newest.subject}"
            ) from None

    async def publish(self, client_ext_id: str, events: Sequence[FeedEvent]) -> None:
        """Send one event after the other. Raises BrokerUnavailable, OutOfSync."""
        token = subject_token(client_ext_id)
        async with self._broker_errors():
            for event in events:
                await self._send(token, event)

    async def _send(self, token: str, event: FeedEvent) -> None:
        subject = f"{self._prefix}.{token}.{event.type}"
        sequences = self._sequences[token]
        if event.type not in sequences:
            sequences[event.type] = await self._newest_sequence(subject)
        headers = {
            Header.MSG_ID: f"{token}:{event.id}",
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(sequences[event.type]),
            "Content-Type": CLOUD_EVENTS.event_media_type,
        }
        try:
            stored = await self._jetstream.publish(
                subject,
                CLOUD_EVENTS.encode_event(event, event.position - 1),
                stream=self._stream,
                headers=headers,
            )
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                raise OutOfSync(f"{self._url} has messages of {subject} from another publisher") from None
            raise
        sequences[event.type] = stored.seq

    async def _newest_sequence(self, subject: str) -> int:
        try:
            return (await self._jetstream.get_last_msg(self._stream, subject)).seq or 0
        except NotFoundError:
            return 0

    async def close(self) -> None:
        """Close the connections."""
        self._sequences.clear()
        connection, self._connection = self._connection, None
        if connection:
            with suppress(nats.errors.Error, OSError):
                await connection.close()

    @property
    def _jetstream(self) -> JetStreamContext:
        if self._connection is None:
            raise BrokerUnavailable(f"{self._url} is not connected")
        return self._connection.jetstream(timeout=_ACK_TIMEOUT_SECONDS)

    def _login(self) -> dict[str, str | None]:
        if self._url.password is None:
            return {"token": self._url.user}
        return {"user": self._url.user, "password": self._url.password}

    @asynccontextmanager
    async def _broker_errors(self) -> AsyncIterator[None]:
        """Fail as soon as the connection is lost, instead of when a response is overdue."""
        try:
            async with asyncio.timeout(None) as pending:
                self._timeouts.add(pending)
                try:
                    yield
                finally:
                    self._timeouts.remove(pending)
        except ServiceUnavailableError as error:
            raise BrokerUnavailable(f"{self._url}: JetStream does not respond") from error
        except (nats.errors.Error, OSError, ValueError) as error:
            raise BrokerUnavailable(f"{self._url}: {str(error) or 'the connection was lost'}") from error

    async def _fail_pending(self) -> None:
        for pending in self._timeouts:
            pending.reschedule(asyncio.get_running_loop().time())


def subject_token(client_ext_id: str) -> str:
    """Return a client's id as one token of a subject: percent-encoded, including dots."""
    return quote(client_ext_id, safe="").replace(".", "%2E")


async def _ignore(_: Exception) -> None:
    """Do nothing: the failing call raises the error, too."""
