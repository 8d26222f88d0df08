"""The texts of the repository are plain technical English: none of the patterns below occurs in a tracked file."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {
    *(".py", ".mjs", ".lua", ".c", ".sh", ".sql", ".service", ".toml", ".yaml", ".yml"),
    *(".md", ".txt", ".html", ".css", ".j2"),
}
NAMES = {"Makefile", "Dockerfile", "run", ".dockerignore", ".editorconfig", ".gitignore"}
# Records of releases and this list itself.
EXCLUDED = ("tests/system/test_language.py", "tests/system/released_names/", "requirements", "CHANGELOG.md")
# Texts whose bytes are part of released evidence.
FROZEN = (
    "<title>Ticket of {user}: what happened",
    "<h1>What happened to the ticket of {user}",
    "<thead><tr><th>Version</th>",
    "<footer>This page is for reading. What proves it",
)

_START = r"(?:^\s*(?:r?\"\"\"|#+|--|//|/\*\*) ?|(?:description|help|summary|title)=f?\"|<h\d>)"
# Searched in any case, with blanks for the underscores, in every line and every file name.
PATTERNS = {
    "negation by `none`": r"\bis (?-i:none)\b",
    "archaic word": r"\b(?:anew|beforehand|thereof|whereby|seldom|heeds?|shall|for ever|for want of|(?:by|of) then|in force|at hand)\b",
    "`mind` for honour": r"\bminds?\b(?! map)",
    "`tell`, `say` for report, return": r"\b(?:tell|tells|told|telling|say|says|said|saying|hears?|heard)\b",
    "`so long as`": r"\b(?:so long as|for as long as)\b",
    "`so many` for a number": r"\bso (?:many|often)\b(?! that\b)",
    "`some` for about": r"\bsome (?:\d|dozens|half|three|seconds)",
    "`go on` for continue": r"\b(?:go|goes|going|gone|went) on\b",
    "`go by` for use": r"\b(?:go|goes) by\b",
    "`let go` for release": r"\b(?:let|lets|letting) go\b",
    "`again and again`": r"\bagain and again\b",
    "`put back`, `put off`": r"\b(?:put|puts|putting) (?:them |it )?(?:back|off)\b",
    "`give up`, `take over` of attempts": r"\b(?:given|gave) (?:up|back)\b",
    "`want` for require": r"\bwants?\b(?! to\b|=)",
    "`ask for` for request": r"\bask(?:s|ed)? for\b",
    "`asked whether`, `asked how`": r"\basked (?:whether|how)\b",
    "`leave` for permission": r"\b(?:no|without|by) leave\b",
    "free relative as subject or object": r"\b(?:those who|whoever|whatever|that which|those which)\b",
    "free relative after a preposition": r"\b(?:of|with|for|by|from|in|to|than|on|behind|beside) what\b(?! is called)",
    "`what` as subject": r"\bwhat (?:is|was|are|were|waits?|waited|happens?|happened|has|had|goes|went|comes?|came|else)\b(?!.*\?)",
    "`who` as subject": r"(?:^|[.:;,(] |\band )who (?:is|was|are|has|had|does|gets?|holds?|waits?|leaves|sees)\b|\bfor who\b|\breturn who\b",
    "free relative with `what`": r"\bwhat (?!in which\b)[a-z](?!.*\?)",
    "free relative with `who`": r"(?:\b(?:of|and|or|for|with|from) |[:;(|] )who\b",
    "`whichever`": r"\b(?:whichever|wherever|whoever|whomever)\b",
    "`where there is`": r"\b(?:where|while) there (?:is|are)\b",
    "free relative at the start of a text": rf"{_START}(?:What|Who|Whom|Whose|Where|Why|How far|How it)\b(?!.*\?)",
    "`which` at the start of a text": rf"{_START}(?:Of which|By which|To which|Which)\b",
    "`nobody`, `somebody`": r"\b(?:nobody|somebody|everybody|anybody)\b",
    "`all that` for everything that": r"\ball that\b",
    "`of its own`": r"\bof (?:\w+'s|its|their|one's|his|our) own\b",
    "`whole` for complete": r"\bwhole\b(?! numbers?| seconds?)",
    "`ours` for this service": r"\b(?:of|than|where|as) ours\b",
    "`at once` for immediately": r"\bat once\b",
    "`alike` for equally": r"\balike\b",
    "`else` for otherwise": r"[,;] else (?!\\)",
    "`be there` for exist": r"\b(?:that|it|they|which|need not) (?:is|are|be) (?:not )?there\b",
    "`gone` for absent": r"\b(?:is|are|was|were|keys|database) gone\b",
    "`the one before` for the previous one": r"\bthe (?:one|page|secret) before\b",
    "`as … has it`": r"\bas (?:\w+ ){1,6}has it\b",
    "`as it stands`": r"\bas (?:it|they) stands?\b(?! here)",
    "`in the hands of`": r"\bin \w+(?: \w+'s)? hands\b",
    "`out of reach`": r"\b(?:out of|within) reach\b",
    "`hand over` for deliver, send": r"\bhand(?:s|ed|ing)? (?:\w+ ){0,3}over\b",
    "`hold up` for delay, block": r"\b(?:hold|holds|held) up\b",
    "`in turns` for alternately": r"\bin turns\b(?! for)",
    "`all is well`": r"\b(?:all|it) is well\b(?!-)",
    "`but` for except": r"\b(?:but for|all but|nothing but|everything but|none but|row but)\b",
    "`take down` for record": r"\b(?:take|takes|taken|took) down\b",
    "`lend`, `know`, `hold` for yield, import, verify": r"\b(?:lends?|lent|knows? no|know each|held by)\b",
    "`wired` in a title": r", wired\b",
    "`log` for the ledger": r"\b(?:one|long|client's|each) log\b(?! (?:line|entry))",
    "`former` for the previous key or secret": r"\bformer (?:signing |outbox )?(?:keys?|secrets?|one also)\b",
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
    """Return `path:line: text` of each line that matches; line 0 is the name of the file."""
    search = re.compile(pattern, re.IGNORECASE).search
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate([path.stem, *path.read_text().splitlines()])
        if search(line.replace("_", " ")) and not line.startswith(FROZEN)
    ]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_text_is_plain_technical_english(name: str) -> None:
    found = hits(PATTERNS[name])

    assert not found, "\n".join([name, *found])
