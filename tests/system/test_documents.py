"""Links between documents, and the decisions: the site is built in `make docs`, which checks the links within docs/."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.server import ROOT

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
PAGES = [*ROOT.glob("*.md"), ROOT / "deploy" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_of_a_page_outside_docs_names_a_file(page: Path) -> None:
    links = re.findall(r'\]\((?!https?:|")([^)#]+)', page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_each_decision_has_a_status_with_a_date_which_the_index_repeats() -> None:
    rows = []
    for path in DECISIONS:
        [found] = re.findall(
            r"\A# (\d+)\. (.*)\n\nStatus: (accepted, \d{4}-\d\d-\d\d.*)\.\n", path.read_text()
        )
        number, title, status = found
        rows.append(f"| {number} | [{title}]({path.name}) | {status} |")

    index = (DECISIONS[0].parent / "index.md").read_text()
    assert [line for line in index.splitlines() if re.match(r"\| \d", line)] == rows


def test_the_order_of_the_rooms_is_that_of_their_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract.get("containers") == ["application"]]
    order = ", ".join(f"`{layer}`" for layer in reversed(layers))

    assert f"in this order: {order}." in " ".join((ROOT / "docs" / "architecture.md").read_text().split())


def test_each_file_of_the_reading_order_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"^\| `([a-z_/]+\.py)` \|", page, re.MULTILINE)

    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
