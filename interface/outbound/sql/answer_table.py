"""The table of answers to commands with an Idempotency-Key."""

import msgspec

from application.transaction.command import ANSWERS, Answer, CommandKey
from application.transaction.details import ANSWERS_OF_USER
from application.transaction.records import Change
from interface.outbound.sql.answer_check import answer_faults
from interface.outbound.sql.codec import encode
from interface.outbound.sql.table import Loading, Row, Storing, Table

to_answer = msgspec.json.Decoder(Answer).decode
_LOADED = {"client_ext_id": "text", "command_id": "text", "row": "bytea"}
_COLUMNS = {**_LOADED, "user_ext_id": "text"}


def _write(key: CommandKey, change: Change[Answer]) -> Row:
    assert change.row  # noqa: S101 - this writes rows that are put
    return (*key, encode(change.row), change.row.user_ext_id)


def _read(client_ext_id: str, command_id: str, row: bytes) -> tuple[CommandKey, Answer]:
    return CommandKey(client_ext_id, command_id), to_answer(row)


ANSWER_TABLE = Table(
    records=ANSWERS,
    store=Storing(
        columns=_COLUMNS,
        # Without ON CONFLICT: two responses to one command are a conflict.
        statement=f"INSERT INTO answers ({', '.join(_COLUMNS)}) SELECT {', '.join(_COLUMNS)} FROM {{new}}",
        write=_write,
    ),
    loading=Loading(
        prefix={"client_ext_id": "text", "command_id": "text"},
        columns=_LOADED,
        read=_read,
    ),
    check=answer_faults,
)
ANSWERS_OF_USER_TABLE = Table(
    records=ANSWERS_OF_USER,
    store=Storing(
        columns=_LOADED,
        statement="UPDATE answers SET row = changed.row FROM {new} AS changed"
        " WHERE answers.client_ext_id = changed.client_ext_id AND answers.command_id = changed.command_id",
        write=lambda key, change: (*key, encode(change.row)),
    ),
    loading=Loading(
        prefix={"client_ext_id": "text", "user_ext_id": "text"},
        columns=_LOADED,
        source="{wanted} JOIN answers USING (client_ext_id, user_ext_id)",
        read=_read,
    ),
)
