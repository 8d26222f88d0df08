"""The table of responses to commands with an Idempotency-Key, and the access log's version, which the ledger holds."""

import msgspec

from application.record.access_log import ACCESS_LOG
from application.transaction.command import ANSWERS, Answer, CommandKey
from application.transaction.records import Change
from interface.outbound.sql.codec import encode
from interface.outbound.sql.table import LoadedRow, Loading, Row, Storing, Table

to_answer = msgspec.json.Decoder(Answer).decode
_COLUMNS = {"client_ext_id": "text", "command_id": "text", "row": "bytea"}


def _write(key: CommandKey, change: Change[Answer]) -> Row:
    return (*key, encode(change.row))


def _read(loaded: LoadedRow) -> tuple[CommandKey, Answer]:
    return CommandKey(loaded.text, loaded.more_text), to_answer(loaded.row)


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
        expressions={"text": "client_ext_id", "more_text": "command_id", "row": "row"},
        read=_read,
    ),
)
ACCESS_LOG_TABLE = Table(
    records=ACCESS_LOG,
    loading=Loading(
        prefix={"client_ext_id": "text", "stream": "uuid"},
        expressions={"text": "client_ext_id", "number": "max(version)"},
        source="{wanted} JOIN ledger USING (client_ext_id, stream) GROUP BY client_ext_id",
        read=lambda loaded: (loaded.text, loaded.number),
    ),
)
