"""Pushing to subscriptions."""

from typing import Annotated

from pydantic import Field

from interface.settings.base import Group, items


class SubscriptionSettings(Group):
    """Pushing to subscriptions."""

    push: Annotated[bool, Field(description="eligible to push to subscriptions; one process is elected")] = (
        True
    )
    push_private_hosts: Annotated[
        str | None,
        Field(
            description="comma-separated subscriber hosts that may have private addresses or use plain http"
        ),
    ] = None
    push_timeout_seconds: Annotated[
        float, Field(gt=0, description="time limit for a subscriber's response")
    ] = 15
    push_retry_seconds: Annotated[
        float, Field(gt=0, description="delay before the first retry; doubles with every retry …")
    ] = 5
    push_longest_wait_seconds: Annotated[float, Field(gt=0, description="… up to this")] = 21_600
    push_give_up_hours: Annotated[
        float, Field(gt=0, description="time after which a failing subscription is parked")
    ] = 72

    subscriptions_per_client: Annotated[
        int, Field(ge=1, description="maximum number of subscriptions and security event streams of a client")
    ] = 100
    streams_per_caller: Annotated[
        int, Field(ge=1, description="maximum number of security event streams of a caller in a client")
    ] = 50

    @property
    def private_hosts(self) -> frozenset[str]:
        """Return the hosts of push_private_hosts."""
        return frozenset(host.lower() for host in items(self.push_private_hosts))
