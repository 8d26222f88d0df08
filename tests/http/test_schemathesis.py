import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.config import SchemathesisConfig
from schemathesis.python.asgi import shutdown_lifespans

from interface.http.permissions import PERMISSIONS
from interface.main import http_app, start
from interface.outbound.system import system_clock
from interface.outbound.token_key import TokenKey
from interface.settings import Settings

IN_CI = bool(os.environ.get("CI"))
EXAMPLES_PER_OPERATION = 60
WALKS = 25
STEPS_PER_WALK = 8


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Any]:
    """The document of a whole service with an empty store, and a token that may do everything."""
    own = Settings(
        database_url=f"sqlite:///{tmp_path}/tickets.db",
        mail_dir=tmp_path / "mail",
        outbox_key_file=tmp_path / "outbox.key",
        token_key_file=tmp_path / "token.pem",
    )
    token = TokenKey(own.token_key_file).sign(
        subject="schemathesis",
        clients=["*"],
        permissions=PERMISSIONS,
        issuer=own.token_issuer,
        audience=own.token_audience,
        now=system_clock(),
        lifetime=timedelta(hours=1),
    )
    yield schemathesis.openapi.from_asgi("/openapi.json", http_app(start(own)), config=_config(token))
    shutdown_lifespans()


def _config(token: str) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            **({"seed": 2} if IN_CI else {}),
            "generation": {"max-examples": EXAMPLES_PER_OPERATION, "deterministic": IN_CI},
            "auth": {"openapi": {"token": {"bearer": token}}},
            "checks": {
                "enabled": True,
                # What a well-formed request may meet: a version that moved on, and a rule of the domain.
                "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "404", "412", "422"]},
            },
            "phases": {"enabled": True},
        }
    )


operations = schemathesis.pytest.from_fixture("api")


@operations.parametrize()
def test_every_operation_keeps_to_its_document(case: schemathesis.Case) -> None:
    case.call_and_validate()


def test_every_sequence_of_operations_keeps_to_the_document(api: Any) -> None:
    api.as_state_machine().run(
        settings=settings(max_examples=WALKS, stateful_step_count=STEPS_PER_WALK, deadline=None)
    )
