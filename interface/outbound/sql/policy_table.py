"""The table of policies."""

import msgspec

from application.policies.records import POLICIES
from application.transaction.records import Change
from domain.policies.policy_definition import PolicyKey, PolicyState
from interface.outbound.sql.codec import encode
from interface.outbound.sql.table import Loading, Row, Storing, Table, upsert

to_policy = msgspec.json.Decoder(PolicyState).decode
_COLUMNS = {"client_ext_id": "text", "policy_ext_id": "text", "version": "bigint", "row": "bytea"}


def _write(key: PolicyKey, change: Change[PolicyState]) -> Row:
    assert change.row  # noqa: S101 - a policy is never removed
    return (*key, change.row.version, encode(change.row))


def _read(row: bytes) -> tuple[PolicyKey, PolicyState]:
    state = to_policy(row)
    return state.key, state


POLICY_TABLE = Table(
    records=POLICIES,
    store=Storing(
        columns=_COLUMNS,
        statement=upsert("policies", ("client_ext_id", "policy_ext_id"), list(_COLUMNS)),
        write=_write,
    ),
    loading=Loading(prefix={"client_ext_id": "text"}, columns={"row": "bytea"}, read=_read),
)
