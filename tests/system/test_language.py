"""The texts of the repository are plain technical English: none of the patterns below occurs in a tracked file."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".sql", ".txt", ".html", ".j2", ".sh", ".service"}
NAMES = {"Makefile", "Dockerfile"}
# Records of releases and this list itself.
EXCLUDED = ("tests/system/test_language.py", "tests/system/released_names/", "requirements", "CHANGELOG.md")
# Texts whose bytes are part of released evidence.
FROZEN = ("<title>Ticket of {user}: what happened", "<h1>What happened to the ticket of {user}")

_START = r"(?:^\s*(?:r?\"\"\"|#|-- )\s*|description=f?\")"
_REPORT = r"(?:tell|tells|told|say|says|said|hears?|heard)"
PATTERNS = {
    "negation by `none`": r"\bis none\b",
    "archaic adverb": r"\b(?:anew|beforehand|thereof|whereby|seldom)\b",
    "`mind` for honour": r"\bminds?\b(?! map)",
    "`tell`, `say` for report, return": rf"\b{_REPORT} (?:of|about|whether|which|how|that|what|so|no more|nothing|once|why)\b",
    "passive `be told`, `be said`": r"\b(?:is|are|was|were|be|been|being) (?:told|said)\b(?! apart)",
    "`so long as`": r"\b(?:so long as|for as long as)\b",
    "`go on` for continue": r"\b(?:go|goes|going|gone|went) on\b",
    "`let go` for release": r"\b(?:let|lets|letting) go\b",
    "`again and again`": r"\bagain and again\b",
    "`put back`, `put off`": r"\b(?:put|puts|putting) (?:back|off)\b",
    "`give up`, `take over` of attempts": r"\b(?:given|gave) (?:up|back)\b",
    "free relative as subject or object": r"\b(?:[Tt]hose who|[Ww]hoever|[Ww]hatever|that which|those which)\b",
    "free relative after a preposition": r"\b(?:of|with|for|by|from|in|to|than|on|behind|beside) what\b(?! is called)",
    "`what` as subject": r"\b[Ww]hat (?:is|was|are|were|waits?|waited|happens?|happened|has|had|goes|went|comes?|came)\b(?!.*\?)",
    "`who` as subject": r"(?:^|[.:;,(] |\band )[Ww]ho (?:is|was|are|has|had|does|asks?|gets?|holds?|waits?|leaves|sees)\b",
    "free relative at the start of a text": rf"{_START}(?:What|Who|Whom|Whose|Where|Why|How far|How it)\b(?!.*\?)",
    "`which` at the start of a text": rf"{_START}(?:Of which|By which|To which|Which)\b",
    "`nobody`, `somebody`": r"\b(?:[Nn]obody|[Ss]omebody|[Ee]verybody)\b",
    "`of its own`": r"\bof (?:its|their|one's|his|our) own\b",
    "`whole` for complete": r"\b(?:a|the|is|record|not) whole\b(?! numbers?| seconds?)",
    "`ours` for this service": r"\bof ours\b",
    "`at once` for immediately": r"(?:\b[Rr]eturns|\b[Ll]ook|\btried|\bagain) at once\b",
    "`out of reach`": r"\b(?:out of|within) reach\b",
    "`hand over` for deliver, send": r"\bhand(?:s|ed|ing)? (?:\w+ ){0,3}over\b",
    "`but for`, `all but`": r"\b(?:but for|all but)\b",
    "`take down` for record": r"\b(?:take|takes|taken|took) down\b",
}


def _texts() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return [
        ROOT / name
        for name in tracked
        if name
        and not name.startswith(EXCLUDED)
        and (Path(name).suffix in SUFFIXES or Path(name).name in NAMES)
    ]


def hits(pattern: str) -> list[str]:
    """Return `path:line: text` of each line that matches."""
    search = re.compile(pattern).search
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if search(line) and not line.startswith(FROZEN)
    ]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_text_is_plain_technical_english(name: str) -> None:
    found = hits(PATTERNS[name])

    assert not found, "\n".join([name, *found])
