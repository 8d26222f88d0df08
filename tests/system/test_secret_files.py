"""Secret settings are read from files, as systemd, Compose and Kubernetes provide them."""

import re
from pathlib import Path

import pytest

from interface.settings import InvalidSettings, Settings, read_settings

URL = "postgresql://tickets:made-up@db/tickets"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TICKETS_DATABASE_URL", raising=False)
    monkeypatch.setenv("TICKETS_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_setting_is_read_from_the_file_of_its_name(secrets: Path) -> None:
    (secrets / "tickets_database_url").write_text(URL + "\n")
    (secrets / "outbox.key").write_bytes(b"\x00" * 32)

    assert read_settings().database_url == URL


def test_the_environment_takes_precedence_over_a_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "tickets_database_url").write_text(URL)
    monkeypatch.setenv("TICKETS_DATABASE_URL", "sqlite:///own.db")

    assert read_settings().database_url == "sqlite:///own.db"


def test_a_file_not_named_like_a_setting_stops_the_start(secrets: Path) -> None:
    (secrets / "tickets_databse_url").write_text(URL)

    with pytest.raises(InvalidSettings, match=r"^TICKETS_DATABSE_URL: unknown setting"):
        read_settings()


def test_an_invalid_file_is_named_and_not_shown(secrets: Path) -> None:
    (secrets / "tickets_database_url").write_text("made-up")

    with pytest.raises(
        InvalidSettings, match=r"^TICKETS_DATABASE_URL: must be sqlite:///PATH or postgresql://…$"
    ):
        read_settings()


def test_a_missing_directory_stops_the_start(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_SECRETS_DIR", str(secrets / "none"))

    with pytest.raises(
        InvalidSettings,
        match=r"^TICKETS_SECRETS_DIR: must be a readable directory: No such file or directory: .*none$",
    ):
        read_settings()


@pytest.mark.parametrize("name", [*Settings.model_fields])
@pytest.mark.parametrize("content", ["not/valid \x01", "-1", "0", ""])
def test_an_invalid_setting_is_refused_by_a_sentence_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    monkeypatch.setenv(f"TICKETS_{name.upper()}", content)
    message = ""
    try:
        read_settings()
    except InvalidSettings as error:
        message = str(error)
    assert not message or f"TICKETS_{name.upper()}" in message
    assert not re.search(r"Input should|String should|[Ee]xtra inputs|pattern|Errno", message)


KINDS = [name for name, field in Settings.model_fields.items() if "SecretStr" in repr(field.annotation)]


@pytest.mark.parametrize("name", [*KINDS, "outbox_key_command"])
@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_secret_is_refused(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    reported = rf"^TICKETS_{name.upper()}: must not be empty: set a value or unset it$"

    (secrets / f"tickets_{name}").write_text(content)
    with pytest.raises(InvalidSettings, match=reported):
        read_settings()
    (secrets / f"tickets_{name}").unlink()
    monkeypatch.setenv(f"TICKETS_{name.upper()}", content)
    with pytest.raises(InvalidSettings, match=reported):
        read_settings()


PATHS = [name for name, field in Settings.model_fields.items() if "Path" in repr(field.annotation)]


@pytest.mark.parametrize("name", [*PATHS, "jwks_url"])
@pytest.mark.parametrize("content", ["", " "])
def test_an_empty_path_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, content: str) -> None:
    """An empty path is the working directory; the service would write a key into it."""
    monkeypatch.setenv(f"TICKETS_{name.upper()}", content)

    with pytest.raises(
        InvalidSettings, match=rf"^TICKETS_{name.upper()}: must not be empty: set a value or unset it$"
    ):
        read_settings()


def test_every_path_is_tested() -> None:
    assert {"ledger_key_dir", "outbox_key_file", "token_key_file", "set_key_file", "mail_dir"} < set(PATHS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TICKETS_PORT", "tcp://10.96.0.7:8000"),
        ("TICKETS_PORT_8000_TCP", "tcp://10.96.0.7:8000"),
        ("TICKETS_PORT_8000_TCP_PROTO", "tcp"),
        ("TICKETS_PORT_8000_TCP_PORT", "8000"),
        ("TICKETS_PORT_8000_TCP_ADDR", "10.96.0.7"),
        ("TICKETS_SERVICE_HOST", "10.96.0.7"),
        ("TICKETS_SERVICE_PORT", "8000"),
        ("TICKETS_SERVICE_PORT_HTTP", "8000"),
        ("TICKETS_METRICS_PORT", "udp://10.96.0.8:53"),
    ],
)
def test_a_variable_of_a_kubernetes_service_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSettings, match=rf"^{name}: set by Kubernetes .*`enableServiceLinks: false`"):
        read_settings()


def test_a_port_that_kubernetes_did_not_set_is_an_unknown_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_PORT", "8000")

    with pytest.raises(InvalidSettings, match=r"^TICKETS_PORT: unknown setting"):
        read_settings()


def test_every_secret_setting_is_tested() -> None:
    assert set(KINDS) == {"metrics_token", "smtp_url", "delivery_webhook_secret", "outbox_key"}
