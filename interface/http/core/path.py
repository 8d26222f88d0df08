"""The ids in paths: routed while still percent-encoded, then decoded once and checked."""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Path
from starlette.convertors import Convertor, register_url_convertor

from domain.shared.identifiers import ID_MAX_LENGTH, fault_of_id
from interface.http.core.problems import Malformed

# "." and ".." are not ids: browsers and proxies resolve them as steps in the path.
ID_PATTERN = r"^(?!\.{1,2}$)[^\x00-\x1f\x7f-\x9f]+$"
BASE_PATH = "/nevisidm/api/core/v1"

BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

ID_SCHEMA = {"minLength": 1, "maxLength": ID_MAX_LENGTH, "pattern": ID_PATTERN}
ClientExtId = Annotated[
    str, Path(description="External ID of the client.", examples=["client-123"], json_schema_extra=ID_SCHEMA)
]
UserExtId = Annotated[
    str, Path(description="External ID of the user.", examples=["user-123"], json_schema_extra=ID_SCHEMA)
]


class _Segment(Convertor[str]):
    """A path segment, which may be empty: an empty id is malformed, not an unknown path."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


# Routes refer to it by name, so it must be registered before the first route is created.
register_url_convertor("segment", _Segment())


def path_id(params: Mapping[str, str], name: str) -> str:
    """Return an id of the path, percent-decoded once. Raises Malformed unless it is 1 to 50 printable characters."""
    raw = params[name]
    if "%" not in raw:
        return _checked(name, raw)
    if BAD_PERCENT.search(raw):
        raise Malformed(f"{name} has an invalid percent-encoding.")
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise Malformed(f"{name} is not UTF-8.") from None
    return _checked(name, text)


def _checked(name: str, text: str) -> str:
    if fault := fault_of_id(text):
        raise Malformed(f"{name} {fault}.")
    return text
