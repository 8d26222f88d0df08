"""Evidence as bytes."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from application.record.evidence import make_evidence, zip_of
from domain.shared.subject import Subject


def evidence_of(subject: Subject, **ports: Any) -> bytes:
    """Return the evidence of a user's credential."""
    with make_evidence(subject, **ports) as file:
        return file.read()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the ZIP of the files of an evidence."""
    with zip_of({name: BytesIO(content) for name, content in files.items()}) as file:
        return file.read()
