"""`tickets publish` reports wrong input, an unreachable broker or store, and a missing library."""

import sys
from pathlib import Path

import pytest

from interface.composition.feed import _broker
from interface.outbound.brokers.broker_url import parse_broker_url
from interface.settings import InvalidSettings
from tests.support.command import Command

UNREACHABLE = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "amqp://user:geheim@host:1"], "the broker must be nats://host:port"),
        (["--to", "nats://user:geheim@host"], "the broker must be nats://host:port"),
        (["--to", "@missing.txt"], "missing.txt"),
        (["--to", f"nats://{UNREACHABLE}", "--subject", "a b"], "--topic, --subject: only letters"),
        (["--to", f"nats://{UNREACHABLE}", "--stream", "a.b"], "--stream: only letters"),
        (
            ["--to", f"nats://user:geheim@{UNREACHABLE}", "--cursor", "other.json"],
            "belongs to nats://elsewhere:4222",
        ),
        (["--to", f"kafka://user:geheim@{UNREACHABLE}", "--cursor", "broken.json"], "is not a cursor file"),
    ],
)
def test_a_wrong_input_is_refused_without_the_password(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "other.json").write_text(
        '{"of":"nats://elsewhere:4222 stream S, subjects s.>","positions":{}}'
    )
    (tmp_path / "broken.json").write_text("[]")

    publisher = Command(tmp_path, "publish", *arguments)

    assert publisher.wait() == 2
    publisher.reported(message)
    assert "geheim" not in publisher.err.read_text()
    assert "Traceback" not in publisher.err.read_text()


@pytest.mark.parametrize("scheme", ["nats", "tls", "kafka", "kafka+ssl"])
def test_an_unreachable_broker_is_named_without_the_password(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{scheme}://user:geheim@{UNREACHABLE}\n")

    publisher = Command(tmp_path, "publish", "--to", "@url")
    publisher.reported(f"{scheme}://***@{UNREACHABLE}")
    publisher.reported("retrying in")

    assert publisher.stop() == 0
    assert "geheim" not in publisher.err.read_text()


def test_a_store_that_is_unreachable_at_the_start_is_waited_for(tmp_path: Path) -> None:
    publisher = Command(
        tmp_path,
        *("publish", "--to", f"nats://{UNREACHABLE}"),
        TICKETS_DATABASE_URL=f"postgresql://postgres@{UNREACHABLE}/tickets",
    )
    publisher.reported("the PostgreSQL store failed")
    publisher.reported("retrying in")

    assert publisher.stop() == 0


@pytest.mark.parametrize("extra", ["nats", "kafka"])
def test_a_missing_library_is_reported_with_the_extra_to_install(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"interface.outbound.brokers.{extra}_broker", None)

    with pytest.raises(InvalidSettings, match=rf"pip install 'ticket-credential-service\[{extra}\]'"):
        _broker(parse_broker_url(f"{extra}://{UNREACHABLE}"), "tickets", "TICKETS")
