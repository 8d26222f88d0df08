"""The verifiers are independent: the published vectors, on a machine without the service, in Python and in JavaScript."""

import json
import random
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from interface.verify_evidence import MAX_BYTES, Event, Scope, Verified, Wrong, parse_keys, table, verify
from tests.support.evidence_mutations import evidence, mutated
from tests.support.lanes import forms
from tests.support.server import ROOT

VECTORS = ROOT / "docs" / "evidence-vectors"
REPORTED: dict[str, str | None] = json.loads((VECTORS / "vectors.json").read_text())
VERIFIED = "VERIFIED: all 3 events of user 'user-123' in client 'client-123', in a ledger of 7 entries"
KEY = ("--key", str(VECTORS / "key.txt"))
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="requires Node.js")
LANGUAGES = ["py", pytest.param("mjs", marks=needs_node)]
# Verifies a line of JSON after the other, and prints the result of each.
MANY = """
import { createInterface } from 'node:readline';
import { Wrong, parseKeys, summary, table, verify } from '%s';
const bytes = (text) => (text === null ? null : new Uint8Array(Buffer.from(text, 'hex')));
for await (const line of createInterface({ input: process.stdin })) {
  const { content, keys, old } = JSON.parse(line);
  try {
    const found = await verify(bytes(content), await parseKeys(keys), bytes(old));
    console.log(JSON.stringify(`${summary(found)}\\n${await table(found)}`));
  } catch (error) {
    console.log(JSON.stringify(error instanceof Wrong ? error.message : error.stack));
  }
}
"""


def run(tmp_path: Path, file: str | Path, *arguments: str, language: str = "py") -> tuple[int, str]:
    """Run the verifier from a directory where nothing of the service can be imported."""
    script = shutil.copy(ROOT / "interface" / f"verify_evidence.{language}", tmp_path)
    interpreter = [sys.executable, "-I"] if language == "py" else ["node"]
    command = [*interpreter, script, str(VECTORS / file), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", REPORTED)
def test_the_vectors_verify_or_are_refused_with_the_fault(tmp_path: Path, name: str, language: str) -> None:
    status, reported = run(tmp_path, name, *KEY, language=language)

    wrong = REPORTED[name]
    if wrong is None:
        assert (status, reported) == (0, f"{VERIFIED}\n")
    else:
        assert status == 1
        assert reported.startswith("NOT VERIFIED: ")
        assert wrong in reported


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("directory", ["more", "v2"])
def test_the_vectors_of_more_ledgers_and_scopes_have_the_listed_results(
    tmp_path: Path, directory: str, language: str
) -> None:
    vectors = VECTORS / directory
    for case in json.loads((vectors / "vectors.json").read_text()):
        older = ("--checkpoint", str(vectors / case["checkpoint"])) if case["checkpoint"] else ()
        key = ("--key", str(vectors / case["key"]))

        status, reported = run(tmp_path, vectors / case["evidence"], *key, *older, language=language)

        assert (status, reported) == (case["result"].startswith("NOT"), f"{case['result']}\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_evidence_extends_the_older_checkpoint_and_no_other(tmp_path: Path, language: str) -> None:
    key = ["--key", (VECTORS / "key.txt").read_text().strip()]

    good, other = (
        run(tmp_path, "good.zip", *key, "--checkpoint", str(VECTORS / name), language=language)
        for name in ("older.checkpoint", "other-history.checkpoint")
    )

    assert good == (0, f"{VERIFIED}, consistent with the older checkpoint\n")
    assert other == (
        1,
        "NOT VERIFIED: the first 6 entries differ from those of the older checkpoint: the record was changed\n",
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("key", "reported"),
    [
        ("a+b+c", "not canonical base64"),
        ("tickets+00000000+AQ==", "not an Ed25519 key"),
        ("no-such-file", "cannot read"),
    ],
)
def test_a_wrong_key_is_reported(tmp_path: Path, key: str, reported: str, language: str) -> None:
    status, output = run(tmp_path, "good.zip", "--key", key, language=language)

    assert status in (1, 2)
    assert reported in output


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x1b[2K\rVERIFIED", (VECTORS / "good.zip").read_bytes() + b"more"]
)
def test_any_bad_file_is_one_line_and_status_1(tmp_path: Path, content: bytes, language: str) -> None:
    bad = tmp_path / "bad.zip"
    bad.write_bytes(content)

    status, reported = run(tmp_path, bad, *KEY, language=language)

    assert status == 1
    assert reported.startswith("NOT VERIFIED: the ZIP is not as documented at ")
    assert reported.count("\n") == 1


def test_a_file_of_any_size_is_read_up_to_the_limit_only(tmp_path: Path) -> None:
    large = tmp_path / "large.zip"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES * 3)

    assert run(tmp_path, large, *KEY) == (1, "NOT VERIFIED: the file has more than 1 GiB\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_result_contains_no_character_that_a_terminal_interprets(tmp_path: Path, language: str) -> None:
    wrong = "tickets\x1b[2K\r\u202e+00000000"

    status, reported = run(tmp_path, "good.zip", "--key", wrong, language=language)

    assert status == 1
    assert reported.startswith(
        "NOT VERIFIED: 'tickets\\u001b[2K\\u000d\\u202e+00000000' is not a verifier key: "
    )


@needs_node
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", forms(short=300, full=10_000))
def test_both_verifiers_agree_word_for_word_on_mutated_evidence(
    tmp_path: Path, chance: random.Random, count: int
) -> None:
    good = evidence(tmp_path)
    tried = [*good, *(mutated(chance.choice(good), chance) for _ in range(count))]
    lines = [
        json.dumps({"content": one.content.hex(), "keys": one.keys, "old": one.old.hex()}) for one in tried
    ]
    expected = []
    for one in tried:
        try:
            found = verify(one.content, parse_keys(one.keys), one.old)
            expected.append(f"{found}\n{table(found)}")
        except Wrong as wrong:
            expected.append(str(wrong))

    script = MANY % (ROOT / "interface" / "verify_evidence.mjs").as_uri()
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )

    assert [json.loads(line) for line in done.stdout.split("\n")[:-1]] == expected
    assert [one[:4] for one in expected[: len(good)]] == ["all "] * len(good)
    assert len(set(expected)) > 15


def test_the_verified_events_are_shown(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("former " * 10_000)
    page.chmod(0o644)

    status, reported = run(tmp_path, "good.zip", *KEY, "--show", "--html", str(page))

    assert status == 0
    assert "former" not in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert [line.split("  ")[0:1] for line in reported.splitlines()[:3]] == [[VERIFIED], [""], ["Position"]]
    assert "2         2026-11-23 09:42:00 UTC  Ticket regenerated  helpdesk  lost letter\n" in reported
    assert "SSHA256} 8fd88949cc33997b; reset count: 1;" in reported
    assert "<td>lost letter</td>" in page.read_text()


@needs_node
def test_both_verifiers_show_the_same_events_and_which_text_was_erased(tmp_path: Path) -> None:
    cases = json.loads((VECTORS / "v2" / "vectors.json").read_text())
    key = ("--key", str(VECTORS / "v2" / "first-key.txt"), "--show")
    for name in {case["evidence"] for case in cases}:
        reported = [run(tmp_path, VECTORS / "v2" / name, *key, language=one) for one in ("py", "mjs")]

        assert reported[0] == reported[1], name
    _, shown = run(tmp_path, VECTORS / "v2" / "user.zip", *key)
    texts = re.findall("Ticket regenerated  helpdesk  (.*)", shown)
    assert texts == ["erased", "lost again"]


@needs_node
def test_both_verifiers_show_every_type_of_event_in_the_same_words() -> None:
    lines = (ROOT / "tests" / "domain" / "record" / "golden_events.jsonl").read_text().splitlines()
    events = [
        {"position": number, "topic": topic, "stored": json.loads(stored), "reason": "as asked"}
        for number, (topic, stored) in enumerate((line.split("\t") for line in lines), start=1)
    ]
    script = (
        f"import {{ table }} from '{(ROOT / 'interface' / 'verify_evidence.mjs').as_uri()}';"
        f"console.log(await table({{ scope: {{ kind: 'entries' }}, history: {json.dumps(events)} }}));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script], capture_output=True, text=True, check=True
    )

    history = [Event(**event) for event in events]
    assert done.stdout == f"{table(Verified('c', Scope('entries', '1 9', None), history, 9))}\n"


def test_the_verifier_shares_no_code_with_the_service() -> None:
    source = (ROOT / "interface" / "verify_evidence.py").read_text()
    lines = [line for line in source.splitlines() if line.startswith(("import ", "from "))]

    imported = {line.split()[1].split(".")[0] for line in lines}

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
