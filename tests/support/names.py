"""Public names: settings, commands, routes, fields, codes, events, metrics, tables.

`python -m tests.support.names` writes those of the program's version to tests/system/released_names, once per release,
with the JSON Schemas of the events.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer.main
from fastapi.testclient import TestClient

from application.feed.event_reference import data_schema
from application.record.streams import EVENTS
from interface.composition.http_app import http_app
from interface.composition.service import start
from interface.http.core.problems import INTERNAL, PROBLEMS
from interface.main import command_line
from interface.settings import PREFIX, Settings
from tests.support.evidence import open_store
from tests.support.server import ROOT

DIRECTORY = ROOT / "tests" / "system" / "released_names"


def current_names() -> list[str]:
    """Return the names of this program, one text each. The working directory must be empty."""
    return sorted({*_settings(), *_commands(), *_codes(), *_events(), *_tables(), *_of_a_server()})


def current_schemas() -> dict[str, Any]:
    """Return the JSON Schema of the data of each event type."""
    return {topic: data_schema(topic) for topic in EVENTS}


def _settings() -> Iterator[str]:
    for name in Settings.model_fields:
        yield f"setting {PREFIX}{name.upper()}"


def _commands() -> Iterator[str]:
    yield from _options("tickets", typer.main.get_command(command_line()))


def _options(path: str, command: Any) -> Iterator[str]:
    yield f"command {path}"
    for parameter in command.params:
        for name in parameter.opts if parameter.param_type_name == "option" else ():
            yield f"option {path} {name}"
    for name, child in getattr(command, "commands", {}).items():
        yield from _options(f"{path} {name}", child)


def _codes() -> Iterator[str]:
    for kind in (*PROBLEMS.values(), INTERNAL):
        yield f"error {kind.status} {kind.code}"


def _events() -> Iterator[str]:
    for topic, event in EVENTS.items():
        for field in fields(event):
            yield f"event {topic} {field.name}"


def _tables() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/tickets.db"
        with closing(open_store(url)) as store:
            for (table,) in store._fetch("SELECT name FROM sqlite_master WHERE type = 'table'", ()):
                for (column,) in store._fetch("SELECT name FROM pragma_table_info(?)", (table,)):
                    yield f"table {table} {column}"


def _of_a_server() -> Iterator[str]:
    running = start(Settings(database_url=f"sqlite:///{Path.cwd()}/var/names.db", deliver=False, push=False))
    with TestClient(http_app(running)) as client:
        document = client.get("/openapi.json").json()
        exposition = client.get("/metrics").text
    for line in exposition.splitlines():
        if line.startswith("# TYPE tickets"):
            yield f"metric {line.split()[2]}"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            yield f"route {name} {operation['operationId']}"
            for parameter in operation.get("parameters", ()):
                yield f"parameter {name} {parameter['in']} {parameter['name']}"
            for status in operation["responses"]:
                yield f"answer {name} {status}"
    for schema, content in document["components"]["schemas"].items():
        for field in content.get("properties", ()):
            yield f"field {schema} {field}"


def write() -> None:
    """Write the names of this version."""
    DIRECTORY.mkdir(exist_ok=True)
    release = version("ticket-credential-service")
    schemas = json.dumps(current_schemas(), indent=1, ensure_ascii=False)
    (DIRECTORY / f"{release}.schemas.json").write_text(f"{schemas}\n")
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        (DIRECTORY / f"{release}.txt").write_text("\n".join(current_names()) + "\n")


if __name__ == "__main__":
    write()
