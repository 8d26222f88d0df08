"""Any fault of a sender is a failed attempt."""

import asyncio
import logging

import pytest

from application.subscriptions import subscription_worker
from application.subscriptions.push_ports import DeliveryRejected, Message
from application.subscriptions.records import Target

URL = "https://receiver.example/s3cret"


class _FailingSender:
    async def send(self, *_: object) -> None:
        raise RecursionError(URL)


def test_an_unexpected_fault_is_a_failed_attempt_and_its_message_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    target, message = Target(url=URL), Message("id", b"content", "text/plain")

    with pytest.raises(
        DeliveryRejected, match=r"^internal error \(RecursionError\); see the log of the service$"
    ):
        asyncio.run(subscription_worker._send(_FailingSender(), target, message))  # type: ignore[arg-type]

    assert "a message cannot be sent: RecursionError in" in caplog.text
    assert "in send" in caplog.text
    assert "s3cret" not in caplog.text
