"""The table of answers to commands with an Idempotency-Key."""

import msgspec

from application.transaction.command import ANSWERS, Answer, CommandKey
from application.transaction.records import Change
from interface.outbound.sql.answer_check import answer_faults
from interface.outbound.sql.codec import encode
from interface.outbound.sql.table import Loading, Row, Storing, Table

to_answer = msgspec.json.Decoder(Answer).decode
_COLUMNS = {"client_ext_id": "text", "command_id": "text", "row": "bytea"}


def _write(key: CommandKey, change: Change[Answer]) -> Row:
    return (*key, encode(change.row))


def _read(client_ext_id: str, command_id: str, row: bytes) -> tuple[CommandKey, Answer]:
    return CommandKey(client_ext_id, command_id), to_answer(row)


ANSWER_TABLE = Table(
    records=ANSWERS,
    store=Storing(
        columns=_COLUMNS,
        # Without ON CONFLICT: two responses to one command are a conflict.
        statement="INSERT INTO answers (client_ext_id, command_id, row) SELECT client_ext_id, command_id, row FROM {new}",
        write=_write,
    ),
    loading=Loading(
        prefix={"client_ext_id": "text", "command_id": "text"},
        columns=_COLUMNS,
        read=_read,
    ),
    check=answer_faults,
)
