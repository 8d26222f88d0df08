"""The subject of a command, an event or a row."""

from typing import NamedTuple


class Subject(NamedTuple):
    """A user of a client (tenant). user_ext_id is empty if the client itself is the subject."""

    client_ext_id: str
    user_ext_id: str = ""
