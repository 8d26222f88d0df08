"""The events keep the promise of docs/events.md: their schemas only grow, and the page is generated from the classes."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import pytest
from msgspec import UnsetType

from application.feed.event_reference import FIELDS, READ_MODEL, _schema_of, data_schema
from application.feed.feed_event import PUBLISHED_NAMES
from application.record.streams import EVENTS
from tests.support import events_page, names

RELEASES = sorted(names.DIRECTORY.glob("*.schemas.json"))
# Texts for readers, which may be corrected.
TEXTS = {"title", "description"}


def breaks(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield each place at which a schema is not the old one with additions."""
    if place.endswith(("/required", "/enum")):
        yield from (f"{place}: {value} was removed" for value in old if value not in new)
    elif isinstance(old, dict) and isinstance(new, dict):
        # Without `properties`, any new keyword restricts the values.
        if not place.endswith("/properties"):
            yield from (f"{place}/{name} was added" for name in sorted(new.keys() - old.keys() - TEXTS))
        for name in old:
            if name in new:
                yield from breaks(old[name], new[name], f"{place}/{name}")
            elif name not in TEXTS:
                yield f"{place}/{name} was removed"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, parts in enumerate(zip(old, new, strict=True)):
            yield from breaks(*parts, f"{place}/{number}")
    elif old != new and place.rpartition("/")[2] not in TEXTS:
        yield f"{place}: {old} became {new}"


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_the_schemas_of_a_release_only_grow(release: Any) -> None:
    old = json.loads(release.read_text())

    assert sorted(old.keys() - EVENTS.keys()) == []
    assert [place for topic in old for place in breaks(old[topic], data_schema(topic), topic)] == []


def test_every_release_has_its_schemas() -> None:
    releases = {path.stem for path in names.DIRECTORY.glob("*.txt")}

    assert {path.name.removesuffix(".schemas.json") for path in RELEASES} == releases


def test_additions_are_allowed_and_every_other_change_is_found() -> None:
    old = data_schema("WrongTicketPresented")
    changed = old["properties"]["changed"]

    def after(change: Any) -> list[str]:
        new = copy.deepcopy(old)
        change(new["properties"]["changed"])
        return list(breaks(old, new))

    assert changed["required"] == ["stateName", "lockedUntil"]
    assert after(lambda new: new["properties"].update(attempts={"type": "integer"})) == []
    assert after(lambda new: new["properties"]["stateName"]["enum"].append("new")) == []
    assert after(lambda new: new.update(description="Corrected.")) == []
    for change in (
        lambda new: new["properties"].pop("lockedUntil"),
        lambda new: new["required"].remove("lockedUntil"),
        lambda new: new["properties"]["stateName"].update(type="integer"),
        lambda new: new["properties"]["stateName"]["enum"].remove("active"),
        lambda new: new["properties"]["stateName"].update(maxLength=3),
        lambda new: new["properties"]["lockedUntil"]["anyOf"].pop(),
        lambda new: new["properties"]["lockedUntil"]["anyOf"][0].update(format="date"),
        lambda new: new.update(additionalProperties=False),
    ):
        assert len(after(change)) == 1


@pytest.mark.parametrize("topic", EVENTS)
def test_a_golden_event_matches_its_schema_and_has_no_further_field(topic: str) -> None:
    data, schema = events_page.example(topic)["data"], data_schema(topic)

    jsonschema_rs.validator_for(schema).validate(data)
    assert data.keys() <= schema["properties"].keys()
    assert data["changed"].keys() <= schema["properties"]["changed"]["properties"].keys()


def test_a_field_that_may_be_absent_is_not_required() -> None:
    @dataclass
    class Example:
        users: tuple[str, ...] | UnsetType = field(metadata={"description": "Users."})
        count: int | None = field(metadata={"description": "Number."})

    schema = _schema_of(Example)

    assert schema["properties"]["users"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "Users.",
    }
    assert schema["required"] == ["count"]


def test_every_published_field_has_a_meaning_and_every_type_its_effect_on_a_read_model() -> None:
    assert sorted(set(PUBLISHED_NAMES.values()) ^ FIELDS.keys()) == []
    assert sorted(EVENTS.keys() ^ READ_MODEL.keys()) == []


def test_the_page_is_the_generated_one() -> None:
    assert events_page.PAGE.read_text() == events_page.page(), "run python -m tests.support.events_page"
