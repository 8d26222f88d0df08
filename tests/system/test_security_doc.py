"""Each guarantee of docs/security.md names existing tests that verify it."""

import ast
import re

import pytest

from tests.support.server import ROOT

DOC = (ROOT / "docs" / "security.md").read_text()
HEADINGS = {"the attacker cannot", "---"}
GUARANTEES = [
    row
    for line in DOC.splitlines()
    if line.startswith("|")
    and (row := [cell.strip() for cell in line.strip("|").split("|")])[0] not in HEADINGS
]
ATTACKERS = [
    "With the database",
    "With a token",
    "With the log",
    "With the mailbox",
    "With the outbox key",
    "On the network",
    "As a receiver",
    "With a backup",
    "As operator",
]


def test_each_attacker_has_a_section_with_guarantees() -> None:
    sections = re.split(r"^\*\*", DOC, flags=re.MULTILINE)[1:]

    assert [section.partition("**")[0].partition(",")[0] for section in sections] == ATTACKERS
    for section in sections:
        assert "| the attacker cannot | verified by |" in section


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee[0])
def test_a_guarantee_names_existing_tests(guarantee: list[str]) -> None:
    _, verified_by = guarantee
    names = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", verified_by)

    assert names
    assert verified_by == ", ".join(f"`{path}::{name}`" for path, name in names)
    for path, name in names:
        tree = ast.parse((ROOT / path).read_text())
        assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
