"""The record set of policies, and lookups on it."""

from application.transaction.records import DerivedRecords, Load
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import DEFAULT_POLICY, DEFAULT_POLICY_ID, TicketPolicy
from domain.policies.policy_definition import PolicyDefinition, PolicyKey, PolicyState
from domain.shared.errors import Refusal

POLICIES = DerivedRecords[PolicyKey, PolicyState]("policies", PolicyDefinition, "policy")


class UnknownPolicy(Refusal):
    """A command names a policy that the client does not have."""

    CODE = "PolicyUnknown"


def policies_of(client_ext_id: str) -> Load:
    """Load every policy of a client."""
    return Load(POLICIES, (client_ext_id,))


def policy(unit: UnitOfWork, key: PolicyKey) -> TicketPolicy:
    """Return the current policy. Raises UnknownPolicy."""
    state = unit.get(POLICIES, key)
    if state is not None:
        return state.policy
    if key.policy_ext_id != DEFAULT_POLICY_ID:
        raise UnknownPolicy(f"Client {key.client_ext_id!r} has no policy {key.policy_ext_id!r}.")
    return DEFAULT_POLICY


def default_policy(unit: UnitOfWork, client_ext_id: str) -> PolicyKey:
    """Return the policy that applies to a new ticket if the request names no policy."""
    for key, state in unit.of_client(POLICIES, client_ext_id).items():
        if state.is_default:
            return key
    return PolicyKey(client_ext_id, DEFAULT_POLICY_ID)
