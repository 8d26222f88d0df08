"""The ledger, its checkpoints, and the record of expiry."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from application.shared.fields import mismatch
from interface.settings.base import Group, HttpUrl


class RecordSettings(Group):
    """The ledger, its checkpoints, and the record of expiry."""

    ledger_name: Annotated[
        str,
        Field(
            min_length=1,
            pattern=r"^[^\s+]+$",
            description="name of the ledger keys, and prefix of the origin of each client's ledger",
        ),
        mismatch("must not contain blanks or plus signs"),
    ] = "tickets"
    ledger_key_dir: Annotated[
        Path,
        Field(
            description="directory of the Ed25519 keys that sign checkpoints and evidence; created at the first start"
        ),
    ] = Path("var/keys/ledger")
    heads_dir: Annotated[
        Path,
        Field(
            description="directory in which the trees of stream heads of large ledgers are saved, so that the first evidence of a process is as fast as later evidence; it can be deleted"
        ),
    ] = Path("var/heads")
    ledger_key_overlap_days: Annotated[
        int, Field(ge=0, description="time for which the previous key also signs after `tickets keys rotate`")
    ] = 30
    checkpoint_every_events: Annotated[
        int, Field(ge=1, description="sign a client's ledger after this many new entries …")
    ] = 1000
    checkpoint_every_seconds: Annotated[
        int, Field(ge=1, description="… or, if there are any new entries, after this time")
    ] = 60
    checkpoint_dir: Annotated[
        Path | None, Field(description="directory for copies of checkpoints, outside the operator's control")
    ] = None
    checkpoint_webhook: Annotated[
        HttpUrl | None, Field(description="URL to which checkpoints are posted")
    ] = None
    checkpoint_tsa: Annotated[
        HttpUrl | None,
        Field(
            description="time stamp authority (RFC 3161) for checkpoints; requires `TICKETS_CHECKPOINT_DIR`",
        ),
    ] = None
    checkpoint_tsa_ca_file: Annotated[
        Path | None,
        Field(
            description="CA certificates (PEM) that the time stamps must lead to; otherwise any signer is accepted"
        ),
    ] = None
    expiry_every_seconds: Annotated[
        int, Field(ge=1, description="interval between searches for tickets that expire soon or have expired")
    ] = 600
    check_every_seconds: Annotated[
        int,
        Field(
            ge=0,
            description="a server checks the record if the newest check is older than this time; 0: never",
        ),
    ] = 86_400

    @model_validator(mode="after")
    def _directory_for_stamps(self) -> Self:
        if self.checkpoint_tsa and not self.checkpoint_dir:
            raise ValueError("TICKETS_CHECKPOINT_TSA requires TICKETS_CHECKPOINT_DIR, to store the stamps")
        if self.checkpoint_tsa_ca_file and not self.checkpoint_tsa:
            raise ValueError("TICKETS_CHECKPOINT_TSA_CA_FILE requires TICKETS_CHECKPOINT_TSA")
        return self
