"""Publishing to Kafka, with the publisher killed in the middle: at least once, in order per credential, without a gap.

Real here: the publisher as a separate process, aiokafka in it, the protocol over loopback, and the consumer that reads
back. Not real: the broker. It is librdkafka's mock cluster (from the wheel confluent-kafka), which keeps everything in
this process's memory: it checks no sequence numbers of idempotent producers as Kafka does, has no disk that could fail
and no replicas, and cannot be killed alone. Outages of a real cluster are not tested.
"""

import json
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from tests.support.command import publishing
from tests.support.lanes import forms
from tests.support.ledgers import given_ticket, ledgers, opened, reset, size
from tests.support.server import until
from tests.support.service import service_over

ROUNDS = int(os.environ.get("TICKETS_TEST_PUBLISHER_CRASHES", "5"))
_QUIET = {"log_level": 0}


@dataclass
class Topic:
    """The topic of the mock cluster, and the payloads read so far by key, in order."""

    url: str
    consumer: Consumer
    read: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    seen: set[bytes] = field(default_factory=set)

    def has(self, count: int) -> None:
        """Wait for this number of different events."""
        until(lambda: self.count() >= count, f"{count} events are in the topic")

    def count(self) -> int:
        """Read on, and return how many different events there are."""
        for message in self.consumer.consume(1000, timeout=0.1):
            assert not message.error(), message.error()
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            assert message.headers() == [("content-type", b"application/cloudevents+json")]
            self.read[key.decode()].append(value)
            self.seen.add(value)
        return len(self.seen)


@pytest.fixture
def topic() -> Iterator[Topic]:
    cluster = Producer({"test.mock.num.brokers": "3", "bootstrap.servers": "none", **_QUIET})
    brokers = cluster.list_topics(timeout=30).brokers.values()
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    partitions = cluster.list_topics("tickets", timeout=30).topics["tickets"].partitions
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", **_QUIET})
    consumer.assign([TopicPartition("tickets", number, OFFSET_BEGINNING) for number in partitions])
    yield Topic(f"kafka://{servers}", consumer)
    consumer.close()


def assert_all_published(database_url: str, topic: Topic) -> None:
    """Every key has all events of its credential, each first after the previous one."""
    topic.has(size(database_url))
    expected = defaultdict(list)
    for client, events in ledgers(database_url).items():
        for event in events:
            user = json.loads(event).get("subject")
            expected[f"{client}/{user}" if user else client].append(event)
    assert {key: list(dict.fromkeys(read)) for key, read in topic.read.items()} == expected


@pytest.mark.parametrize("rounds", forms(short=1, full=ROUNDS))
def test_kill_9_of_the_publisher_leaves_no_gap(
    database_url: str, tmp_path: Path, topic: Topic, chance: random.Random, rounds: int
) -> None:
    for client in ("client-1", "client-2"):
        for user in ("user-0", "user-1"):
            given_ticket(database_url, client, user)
    for _ in range(rounds):
        for client in ("client-1", "client-2"):
            reset(database_url, client, 80, chance.choice(["user-0", "user-1"]))
        wanted = topic.count() + chance.randrange(1, 150)
        publisher = publishing(tmp_path, database_url, topic.url)
        topic.has(wanted)
        publisher.kill()
    publisher = publishing(tmp_path, database_url, topic.url)
    topic.has(size(database_url))
    publisher.stop_publishing()
    assert_all_published(database_url, topic)

    cursor = json.loads((tmp_path / "var" / "publish-kafka.json").read_text())
    assert cursor["positions"] == {client: len(events) for client, events in ledgers(database_url).items()}


def test_a_stop_repeats_nothing(sqlite_url: str, tmp_path: Path, topic: Topic) -> None:
    given_ticket(sqlite_url, "client-1")
    for _ in range(3):
        reset(sqlite_url, "client-1", 50)
        wanted = topic.count() + 1
        publisher = publishing(tmp_path, sqlite_url, topic.url)
        topic.has(wanted)
        publisher.stop_publishing()
    publisher = publishing(tmp_path, sqlite_url, topic.url)
    assert_all_published(sqlite_url, topic)
    publisher.stop_publishing()

    assert topic.read == {"client-1/user-0": ledgers(sqlite_url)["client-1"]}


def test_the_key_of_an_event_without_a_user_is_the_client(
    sqlite_url: str, tmp_path: Path, topic: Topic
) -> None:
    with opened(sqlite_url) as store, service_over(store) as service:
        service.define("strict")
    publisher = publishing(tmp_path, sqlite_url, topic.url)
    assert_all_published(sqlite_url, topic)
    publisher.stop_publishing()

    assert topic.read.keys() == {"client-123"}
