"""Evidence as bytes."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from io import BytesIO
from typing import Any

from application.record.evidence import make_evidence, zip_of
from application.record.evidence_scope import EvidenceScope, evidence_scope
from domain.shared.subject import Subject


def evidence_of(scope: Subject | EvidenceScope, **ports: Any) -> bytes:
    """Return the evidence of a scope, or of a user's ticket."""
    if isinstance(scope, Subject):
        scope = evidence_scope(scope.client_ext_id, user=scope.user_ext_id)
    with make_evidence(scope, **ports) as file:
        return file.read()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the ZIP of the files of an evidence."""
    with zip_of({name: BytesIO(content) for name, content in files.items()}) as file:
        return file.read()


def manifest_of(files: Mapping[str, bytes], sign: Callable[[str], str]) -> bytes:
    """Return the manifest of the files with their present digests, signed."""
    head = files["manifest"].decode().split("sha256 ")[0]
    digests = [f"sha256 {sha256(content).hexdigest()} {name}\n" for name, content in files.items()]
    return sign(head + "".join(digests[1:])).encode()
