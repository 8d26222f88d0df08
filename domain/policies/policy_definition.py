"""A policy of a client: its events, its state and its aggregate.

Stored shapes only grow; see domain/tickets/events.py.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.policies.policy import TicketPolicy
from domain.shared.aggregate import Aggregate
from domain.shared.attribution import Attribution
from domain.shared.event import Event, Origin
from domain.shared.stream_ids import named_stream_id
from domain.shared.subject import Subject

AGGREGATE = "PolicyDefinition"
_STREAMS = UUID("0e5a4c0e-8a55-5c0b-9a3c-7d0b8f3f4b11")


class PolicyKey(NamedTuple):
    """The identity of a policy."""

    client_ext_id: str
    policy_ext_id: str


def policy_stream_id(client_ext_id: str, policy_ext_id: str) -> UUID:
    """Return the id of the policy's event stream."""
    return named_stream_id(_STREAMS, client_ext_id, policy_ext_id)


@dataclass(frozen=True, kw_only=True)
class PolicyEvent(Event):
    """An event of a policy."""

    AGGREGATE = AGGREGATE


@dataclass(frozen=True, kw_only=True)
class PolicyDefined(PolicyEvent):
    """The policy was created or replaced; carries every parameter."""

    TOPIC = "PolicyDefined"
    originator_topic: str = AGGREGATE
    client_ext_id: str
    policy_ext_id: str
    is_default: bool
    parameters: TicketPolicy

    @property
    def origin(self) -> Origin:
        """The policy."""
        stream = policy_stream_id(self.client_ext_id, self.policy_ext_id)
        return Origin(stream, Subject(self.client_ext_id), self.policy_ext_id)


@dataclass(frozen=True, kw_only=True)
class PolicyDefaultWithdrawn(PolicyEvent):
    """The policy is no longer the client's default."""

    TOPIC = "PolicyDefaultWithdrawn"


@dataclass(frozen=True, kw_only=True)
class PolicyState:
    """The state of a policy at a version; the row of table `policies`."""

    client_ext_id: str
    policy_ext_id: str
    version: int
    created: datetime
    last_modified: datetime
    modification_comment: str | None
    is_default: bool
    policy: TicketPolicy

    @property
    def key(self) -> PolicyKey:
        """The identity of the policy."""
        return PolicyKey(self.client_ext_id, self.policy_ext_id)


def evolve(state: PolicyState | None, event: Event) -> PolicyState | None:
    """Apply the event to the state and return the new state."""
    if isinstance(event, PolicyDefined):
        return PolicyState(
            client_ext_id=event.client_ext_id,
            policy_ext_id=event.policy_ext_id,
            version=event.originator_version,
            created=state.created if state else event.timestamp,
            last_modified=event.timestamp,
            modification_comment=event.reason,
            is_default=event.is_default,
            policy=event.parameters,
        )
    if state and isinstance(event, PolicyDefaultWithdrawn):
        return replace(
            state, version=event.originator_version, last_modified=event.timestamp, is_default=False
        )
    return state


class PolicyDefinition(Aggregate[PolicyState]):
    """The aggregate of a policy."""

    TOPIC = AGGREGATE
    evolve = staticmethod(evolve)

    @classmethod
    def of(cls, key: PolicyKey, state: PolicyState | None) -> "PolicyDefinition":
        """Return the aggregate in the given state; None: not defined yet."""
        return cls.at(policy_stream_id(*key), state)

    def define(self, key: PolicyKey, policy: TicketPolicy, *, is_default: bool, by: Attribution) -> None:
        """Replace all parameters; emits nothing if they are unchanged. Raises InvalidPolicy."""
        policy.check()
        if self.state and (policy, is_default) == (self.state.policy, self.state.is_default):
            return
        self.emit(
            PolicyDefined,
            client_ext_id=key.client_ext_id,
            policy_ext_id=key.policy_ext_id,
            is_default=is_default,
            parameters=policy,
            by=by,
        )

    def withdraw_default(self, *, by: Attribution) -> None:
        """Withdraw the default flag if it is set."""
        if self.state and self.state.is_default:
            self.emit(PolicyDefaultWithdrawn, by=by)
