"""Define and read the policies of a client."""

from collections.abc import Sequence

from application.policies.records import POLICIES, default_policy, policies_of
from application.policies.response import to_response
from application.shared.ports import Clock
from application.transaction.command import Answer, Command
from application.transaction.new_ids import check_new_id_in_client, client_of_new_id
from application.transaction.outcomes import Outcome
from application.transaction.records import Load, LoadedState
from application.transaction.unit_of_work import UnitOfWork
from domain.policies.policy import TicketPolicy
from domain.policies.policy_definition import PolicyDefinition, PolicyKey, PolicyState
from domain.shared.errors import Kind, Refusal
from domain.shared.subject import Subject


class PolicyNotFound(Refusal):
    """The requested policy does not exist."""

    CODE = "PolicyNotFound"
    KIND = Kind.NOT_FOUND


class DefinePolicy(Command, frozen=True, kw_only=True):
    """Create or replace a policy."""

    policy_ext_id: str
    policy: TicketPolicy
    is_default: bool = False

    def loads(self) -> Sequence[Load]:
        """Return every policy of the client, and whether the client exists, where a policy could not create it."""
        client_ext_id = self.subject.client_ext_id
        return [policies_of(client_ext_id), *client_of_new_id(client_ext_id)]


def define_policy(command: DefinePolicy, unit: UnitOfWork, *, clock: Clock) -> Answer:
    """Create or replace a policy; if it is the new default, the former default loses its flag.

    Raises PreconditionFailed, InvalidIdentifier, InvalidPolicy with one message per fault.
    """
    key = PolicyKey(command.subject.client_ext_id, command.policy_ext_id)
    known = unit.get(POLICIES, key)
    command.precondition.check(known.version if known else None)
    if not known:
        check_new_id_in_client(unit, key.client_ext_id, "policyExtId", key.policy_ext_id)
    by = command.attribution(clock())
    definition = PolicyDefinition.of(key, known)
    definition.define(key, command.policy, is_default=command.is_default, by=by)
    default = unit.get(POLICIES, default_policy(unit, key.client_ext_id))
    if command.is_default and default and default.is_default and default.key != key:
        former = PolicyDefinition.of(default.key, default)
        former.withdraw_default(by=by)
        unit.save(POLICIES, default.key, former, Subject(key.client_ext_id))
    state = unit.save(POLICIES, key, definition, Subject(key.client_ext_id))
    return command.done(Outcome.CHANGED if known else Outcome.CREATED, state.version, to_response(state))


def read_policies(client_ext_id: str, loaded: LoadedState) -> Sequence[PolicyState]:
    """Return the policies of the client, sorted by id. loaded: with `policies_of` the client. Raises RowRefused."""
    policies = loaded.of_client(POLICIES, client_ext_id)
    return [policies[key] for key in sorted(policies)]


def read_policy(key: PolicyKey, loaded: LoadedState) -> PolicyState:
    """Return one policy. loaded: with `policies_of` its client. Raises PolicyNotFound, RowRefused."""
    for row in read_policies(key.client_ext_id, loaded):
        if row.policy_ext_id == key.policy_ext_id:
            return row
    raise PolicyNotFound(f"Client {key.client_ext_id!r} has no policy {key.policy_ext_id!r}.")
