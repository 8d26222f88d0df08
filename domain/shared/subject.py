"""Who a command, an event or a row is about."""

from typing import NamedTuple


class Subject(NamedTuple):
    """A user inside a client (tenant). user_ext_id is empty where the client itself is the subject."""

    client_ext_id: str
    user_ext_id: str = ""
