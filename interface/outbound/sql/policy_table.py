"""The table of policies."""

from functools import lru_cache
from operator import attrgetter

import msgspec

from application.policies.records import POLICIES
from application.transaction.records import Change
from domain.policies.policy_definition import PolicyKey, PolicyState
from interface.outbound.sql.codec import encode
from interface.outbound.sql.table import SEAL, Column, Derived, Loading, Row, Storing, Table, sealed, upsert

# Every batch loads the policies of its clients, which rarely change. Its caller has checked the seal of the row.
to_policy = lru_cache(maxsize=256)(msgspec.json.Decoder(PolicyState).decode)
_DERIVED = Derived(
    columns={
        "client_ext_id": Column("text", attrgetter("client_ext_id")),
        "policy_ext_id": Column("text", attrgetter("policy_ext_id")),
        "version": Column("bigint", attrgetter("version")),
        "row": Column("bytea", encode),
    },
    decode=to_policy,
)

POLICY_COLUMNS = ", ".join(sealed(_DERIVED.key))


def _write(_: PolicyKey, change: Change[PolicyState]) -> Row:
    assert change.row  # noqa: S101 - a policy is never removed
    return _DERIVED.row(change.row)


def _read(row: bytes) -> tuple[PolicyKey, PolicyState]:
    state = to_policy(row)
    return state.key, state


POLICY_TABLE = Table(
    records=POLICIES,
    store=Storing(
        columns={**_DERIVED.types, SEAL: "bytea"},
        statement=upsert("policies", _DERIVED.key, [*_DERIVED.columns, SEAL]),
        write=_write,
    ),
    loading=Loading(
        prefix={"client_ext_id": "text"}, columns=sealed(_DERIVED.key), read=_read, is_sealed=True
    ),
    derived=_DERIVED,
)
