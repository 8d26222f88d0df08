"""Evidence with random faults, signed or not, to compare verifiers."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from application.record.checkpoint import make_checkpoint
from application.record.evidence_scope import evidence_scope
from interface.outbound.keys.ledger_keys import LedgerKeys
from interface.verify_evidence import unzip
from tests.support.evidence import open_store
from tests.support.evidence_zip import evidence_of, manifest_of, zipped
from tests.support.fakes import SUBJECT
from tests.support.service import service_over

MORE = Path(__file__).parents[2] / "docs" / "evidence-vectors" / "more"
_ODD = [
    "\x00",
    "\x1b",
    "\u202e",
    "é",
    "\U0001f600",
    " ",
    "\n",
    "\r",
    '"',
    "\\",
    "0",
    "9",
    "-",
    ".",
    "A",
    "=",
    "%41",
    "]",
]


@dataclass(frozen=True)
class Case:
    """Input of a verifier. sign: signs a note with the key of the ledger."""

    content: bytes
    keys: str
    old: bytes
    sign: Callable[[str], str]


def evidence(directory: Path) -> list[Case]:
    """Return good evidence of each version and scope, whose user and client have ids outside of ASCII."""
    store = open_store(f"sqlite:///{directory}/tickets.db")
    subject = SUBJECT._replace(client_ext_id="Zürich (1)", user_ext_id="a/b+c ~é😀")
    try:
        with service_over(store) as service:
            clock = service.clock
            keys = LedgerKeys(directory / "keys", "tickets.example", clock=clock, overlap=timedelta())
            for one in (subject, subject._replace(user_ext_id="other")):
                service.register(subject=one)
                service.create(subject=one)
                service.regenerate(subject=one, reason="verloren \u202e")
            store._run("DELETE FROM details WHERE user_ext_id = ?", [("other",)])
            old = make_checkpoint(subject.client_ext_id, ledger=store, signer=keys, clock=clock)
            service.regenerate(subject=subject, reason='"again"\n')
            contents = [
                evidence_of(scope, ledger=store, signer=keys, clock=clock)
                for scope in (subject, evidence_scope(subject.client_ext_id, first=2, last=4))
            ]
    finally:
        store.close()
    assert old is not None
    public = keys.public()[0][1]
    of_version_1 = _signed_again((MORE / "deleted-and-created-again.zip").read_bytes(), keys)
    older = _text((MORE / "before-deletion.checkpoint").read_bytes())
    return [
        *(Case(content, public, old.note.encode(), keys.sign) for content in contents),
        Case(of_version_1, public, keys.sign(older).encode(), keys.sign),
    ]


def _signed_again(content: bytes, keys: LedgerKeys) -> bytes:
    """Return published evidence, signed by other keys: the private key of the published one does not exist any more."""
    files = unzip(content)
    files["checkpoint"] = keys.sign(_text(files["checkpoint"])).encode()
    return zipped(files | {"manifest": manifest_of(files, keys.sign)})


def mutated(good: Case, chance: random.Random) -> Case:
    """Return a copy with a fault in the file, a member, a signed member, the keys or the older checkpoint."""
    kind = chance.choice(
        ["file", "member", "member", "signed", "signed", "signed", "keys", "old", "signed old"]
    )
    if kind == "file":
        return replace(good, content=_changed(good.content, chance))
    if kind == "keys":
        return replace(good, keys=_changed(good.keys.encode(), chance).decode("utf-8", "replace"))
    if kind == "old":
        return replace(good, old=_changed(good.old, chance))
    if kind == "signed old":
        return replace(good, old=_signed(_text(good.old), good, chance))
    files = unzip(good.content)
    name = chance.choice(list(files))
    if kind == "member" or name == "manifest":
        signed = kind == "signed"
        files[name] = _signed(_text(files[name]), good, chance) if signed else _changed(files[name], chance)
        return replace(good, content=zipped(files))
    files[name] = (
        _signed(_text(files[name]), good, chance) if name == "checkpoint" else _changed(files[name], chance)
    )
    return replace(good, content=zipped(files | {"manifest": manifest_of(files, good.sign)}))


def _text(note: bytes) -> str:
    return note.decode().rpartition("\n\n")[0] + "\n"


def _signed(text: str, good: Case, chance: random.Random) -> bytes:
    changed = _changed(text.encode(), chance).decode("utf-8", "replace")
    return good.sign(changed.rstrip("\n") + "\n").encode("utf-8", "replace")


def _changed(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) or 1)
    odd = chance.choice(_ODD).encode()
    match chance.randrange(7):
        case 0:
            changed = content[place : place + 1] or b"0"
            middle, after = bytes([changed[0] ^ (1 << chance.randrange(8))]), place + 1
        case 1:
            middle, after = b"", len(content)
        case 2:
            middle, after = odd, place
        case 3:
            middle, after = b"", place + chance.randrange(1, 20)
        case 4:
            lines = content.splitlines(keepends=True)
            chance.shuffle(lines)
            place, middle, after = 0, b"".join(lines), len(content)
        case 5:
            found = [match.span() for match in re.finditer(rb"\d+", content)]
            place, after = chance.choice(found or [(0, 0)])
            middle = str(chance.choice([0, 1, 2, 3, 7, 10**14, 2**53, 10**400])).encode()
        case _:
            middle, after = odd, place + 1
    return content[:place] + middle + content[after:]
