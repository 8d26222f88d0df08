"""Define a policy, and read those of a client."""

from collections.abc import Sequence
from dataclasses import dataclass

from application.policies.response import to_response
from application.shared.errors import PolicyNotFound
from application.transaction.command import Answer, Command
from application.transaction.outcomes import Outcome
from application.transaction.ports import Clock, Store
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyDefinition, PolicyKey, PolicyState
from domain.shared.subject import Subject


@dataclass(frozen=True, kw_only=True)
class DefinePolicy(Command):
    """Make these the parameters of the policy, all of them."""

    policy_ext_id: str
    policy: TicketPolicy
    is_default: bool = False


def define_policy(command: DefinePolicy, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Add or replace a policy; as the client's new default it takes the place of the old one.

    Raises PreconditionFailed, PolicyFaulty with one message per fault.
    """
    client_ext_id = command.subject.client_ext_id
    key = PolicyKey(client_ext_id, command.policy_ext_id)
    known = unit.policy_row(key)
    command.precondition.check(known.version if known else None)
    by = command.attribution(clock())
    definition = PolicyDefinition.of(key, known)
    definition.define(key, command.policy, is_default=command.is_default, by=by)
    default = unit.policy_row(unit.default_policy(client_ext_id))
    if command.is_default and default and default.is_default and default.policy_ext_id != key.policy_ext_id:
        former = PolicyDefinition.of(default.key, default)
        former.withdraw_default(by=by)
        unit.save_policy(former)
    row = unit.save_policy(definition)
    return command.done(Outcome.CHANGED if known else Outcome.CREATED, row.version, to_response(row))


def read_policies(client_ext_id: str, *, store: Store) -> Sequence[PolicyState]:
    """Return every policy that the client defined, by its id. Raises StoreUnavailable."""
    policies = store.look_up([Subject(client_ext_id)]).policies
    return [policies[key] for key in sorted(policies)]


def read_policy(key: PolicyKey, *, store: Store) -> PolicyState:
    """Return one policy. Raises PolicyNotFound, StoreUnavailable."""
    for row in read_policies(key.client_ext_id, store=store):
        if row.policy_ext_id == key.policy_ext_id:
            return row
    raise PolicyNotFound(f"Client {key.client_ext_id!r} has defined no policy {key.policy_ext_id!r}.")
