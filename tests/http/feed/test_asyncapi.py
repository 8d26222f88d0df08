import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from application.feed.feed import TYPES
from tests.support.evidence import open_store
from tests.support.server import PROJECT, ROOT
from tests.support.web import BASE, RESET, Web, references, web_over

# From the package @asyncapi/specs (Apache-2.0), unchanged.
SCHEMA = json.loads(gzip.decompress((ROOT / "tests" / "support" / "asyncapi-3.0.0.json.gz").read_bytes()))


@pytest.fixture
def web(sqlite_url: str, tmp_path: Path) -> Iterator[Web]:
    store = open_store(sqlite_url)
    with web_over(store, tmp_path) as web:
        yield web
    store.close()


@pytest.fixture
def document(web: Web) -> Any:
    return web.client.get("/asyncapi.json", headers={"Authorization": ""}).json()


def found(document: Any, reference: str) -> Any:
    part = document
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def test_the_document_has_the_version_of_the_project(document: Any) -> None:
    assert document["info"]["version"] == PROJECT["version"]


def test_the_document_is_valid_asyncapi_3(document: Any) -> None:
    jsonschema_rs.validator_for(SCHEMA).validate(document)
    assert all(found(document, reference) for reference in references(document))


def test_every_event_type_is_a_documented_message(document: Any) -> None:
    messages = document["components"]["messages"]

    assert sorted(messages) == sorted(TYPES)
    assert all(message["summary"].endswith(".") for message in messages.values())
    assert sorted(document["channels"]["stream"]["messages"]) == sorted(TYPES)


def test_sent_events_match_their_messages(web: Web, document: Any) -> None:
    web.given_a_ticket()
    web.client.post(RESET)
    web.client.patch(RESET.removesuffix("/reset"), json={"stateName": "disabled"})
    web.client.put(f"{BASE}/client-123/policies/letters", json={})
    web.client.put(f"{BASE}/client-123/subscriptions/siem", json={"url": "https://siem.example"})
    web.client.post(RESET)

    events = web.client.get(f"{BASE}/client-123/events").json()

    assert len({event["type"] for event in events}) == 7
    for event in events:
        payload = document["components"]["messages"][event["type"]]["payload"]
        schema = {**payload, "components": document["components"]}
        jsonschema_rs.validator_for(schema).validate(event)
        named = payload["allOf"][1]["properties"]["data"]["properties"]["changed"]["properties"]
        assert set(event["data"]["changed"]) <= set(named) | {"stateName"}
