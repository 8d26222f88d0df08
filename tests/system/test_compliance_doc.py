"""Each row of docs/compliance.md names existing tests and commands, or the part that is not met."""

import ast
import re

import pytest
import typer.main

from interface.main import command_line
from tests.support import names
from tests.support.server import ROOT

DOC = (ROOT / "docs" / "compliance.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOC.splitlines()
    if line.startswith("| ") and not line.startswith("| requirement")
]
SECTIONS = [
    *("NIST SP 800-63B-4", "OWASP ASVS 5.0, V16", "ISO/IEC 27001:2022, Annex A"),
    "DORA: Delegated Regulation (EU) 2024/1774, Article 12",
    "NIS2: Implementing Regulation (EU) 2024/2690, Annex, 3.2",
    "Swiss data protection: revDSG (FADP) and its ordinance (DPO)",
    "FINMA circular 2023/1",
]


def test_each_standard_has_a_section_with_a_table() -> None:
    head, *sections = re.split(r"^## ", DOC, flags=re.MULTILINE)

    assert head.startswith("# Compliance\n")
    assert [section.partition("\n")[0] for section in sections] == SECTIONS
    assert all("| requirement | shown by | not met, or for the operator |" in section for section in sections)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_requirement_names_existing_tests_and_commands_or_the_part_that_is_not_met(row: list[str]) -> None:
    requirement, shown, missing = row

    assert requirement
    assert shown or missing
    for path, name in re.findall(r"`(tests/\S+\.py)::(\w+)`", shown):
        tree = ast.parse((ROOT / path).read_text())
        assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert "tests/" not in re.sub(r"`tests/\S+\.py::test_\w+`", "", shown)


def test_each_named_command_exists() -> None:
    known = set(names._options("tickets", typer.main.get_command(command_line())))
    named = set(re.findall(r"`(tickets [^`]+)`", DOC))

    assert len(named) > 10
    for command in named:
        words, _, option = command.partition(" --")
        assert f"command {words}" in known
        assert not option or f"option {words} --{option}" in known
