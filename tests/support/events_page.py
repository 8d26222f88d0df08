"""The page docs/events.md, generated from the event classes: `python -m tests.support.events_page` writes it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from application.feed.event_reference import READ_MODEL, data_schema, meaning
from application.feed.feed_event import schema_path, to_feed_event
from application.feed.formats import CLOUD_EVENTS
from application.record.eras import NO_ERAS
from application.record.ledger import LedgerEntry
from application.record.objects import EventObject
from application.record.streams import EVENTS, columns_of
from domain.shared.subject import Subject
from domain.tickets.events import AGGREGATE
from interface.outbound.sql.codec import decoded
from tests.support import names
from tests.support.server import ROOT

PAGE = ROOT / "docs" / "events.md"
GOLDEN = ROOT / "tests" / "domain" / "record" / "golden_events.jsonl"
_PUBLIC_URL = "https://tickets.example"
_INTRODUCTION = """\
# Event reference

Every type of event of [the feed](subscribers.md). This page is generated from the event classes by
`python -m tests.support.events_page`, and a test compares both.

An event is a CloudEvent. Its `data` has the members below, and `dataschema` names the JSON Schema of its type, which the service
serves without a token.

{members}

**The promise.** A type keeps its meaning, and each of its fields keeps its meaning, type and unit. Fields are added, and values are
added to the lists of values below. A change with another meaning is another type. A test compares the schemas with those of every
release. A subscriber therefore ignores unknown fields and unknown types, and treats an unknown value as unknown.

**A read model.** [read_model.py](read_model.py) builds the response of `GET …/ticket`, except the hash `ticket`, for each credential
from the feed alone. Each event of a ticket sets `version` to that of the event and `lastModified` to its time; the table of a type
contains the further effects. Times in `changed` are in seconds, so a temporary lock seems to end up to one second early.
"""


def page() -> str:
    """Return the page."""
    members = data_schema("TicketDeleted")["properties"]
    changed = {"type": "object", "description": "Other fields of the event, by type."}
    introduction = _INTRODUCTION.format(members=_table(members | {"changed": changed}))
    return "\n".join([introduction, *(section(topic) for topic in EVENTS)])


def section(topic: str) -> str:
    """Return the section of a type."""
    event, changed = EVENTS[topic], data_schema(topic)["properties"]["changed"]["properties"]
    parts = [
        f"## {topic}",
        meaning(event),
        f"Object: {event.AGGREGATE}. Since: {_since(topic)}. Schema: `{schema_path(topic)}`.",
        f"Read model: {READ_MODEL[topic]}",
        _table(changed) if changed else "No further fields.",
        f"```json\n{json.dumps(example(topic), indent=2, ensure_ascii=False)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _table(properties: dict[str, Any]) -> str:
    rows = [f"| `{name}` | {kind} | {text} |" for name, kind, text in _rows(properties)]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def _rows(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, schema in properties.items():
        yield f"{prefix}{name}", _kind(schema), schema["description"]
        yield from _rows(schema.get("properties", {}), f"{prefix}{name}.")


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("format", schema["type"]))


def _since(topic: str) -> str:
    """Return the first release with this type."""
    releases = sorted(names.DIRECTORY.glob("*.txt"), key=lambda path: tuple(map(int, path.stem.split("."))))
    found = (path.stem for path in releases if f"event {topic} " in path.read_text())
    return next(found, "the next release")


def example(topic: str) -> Any:
    """Return the newest golden event of the type as a CloudEvent."""
    golden = [line.split("\t") for line in GOLDEN.read_text().splitlines()]
    events = [(decoded(known, state.encode()), state.encode()) for known, state in golden]
    event, state = [(event, state) for event, state in events if topic == event.TOPIC][-1]
    names_of = {event.AGGREGATE: event.origin.name for event, _ in events if event.origin}
    changed = EventObject(event.AGGREGATE, names_of[event.AGGREGATE], event.ticket and names_of[AGGREGATE])
    subject = Subject("client-123", "user-123" if event.AGGREGATE == AGGREGATE else "")
    columns: Sequence[Any] = columns_of(event, subject)
    entry = LedgerEntry._make(["client-123", 42, *columns[1:], b"", state, None])
    found = to_feed_event(entry, event, changed, "tickets/client-123", _PUBLIC_URL, NO_ERAS)
    return json.loads(CLOUD_EVENTS.encode_event(found, 41))


if __name__ == "__main__":
    PAGE.write_text(page())
