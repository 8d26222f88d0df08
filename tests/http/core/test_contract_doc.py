"""The table of operations in docs/http-contract.md is that of the OpenAPI document."""

import re

from inline_snapshot import external_file

from tests.support.server import ROOT
from tests.support.web import BASE, Web

CONTRACT = ROOT / "docs" / "http-contract.md"


def test_the_operations_in_the_docs_are_those_of_the_document(web: Web) -> None:
    rows = [
        f"| `{method.upper()} {shown(path)}` | {permissions(operation)} | {operation['summary']} |\n"
        for path, operations in web.client.get("/openapi.json").json()["paths"].items()
        for method, operation in operations.items()
    ]
    table = r"(?<=^\| method and path \| permissions \| summary \|\n\|---\|---\|---\|\n)(?:\|.*\n)*"
    page = re.sub(table, lambda _: "".join(rows), CONTRACT.read_text(), flags=re.MULTILINE)

    assert page == external_file(CONTRACT, format=".txt")


def shown(path: str) -> str:
    """Return the path without the base path, with parameters in the style of the page."""
    return re.sub(r"{(\w+)}", r":\1", path.removeprefix(BASE))


def permissions(operation: dict[str, str]) -> str:
    """Return the permissions that the description lists."""
    _, _, listed = operation["description"].partition("Required permission")
    return re.sub(r"AccessControl\.(\w+)", r"`\1`", listed.lstrip("s").removeprefix(": ")) or "none"
