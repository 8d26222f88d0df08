import json
import re
import socket
from pathlib import Path

import jwt
import pytest

from interface import version
from tests.support.command import tickets
from tests.support.server import PROJECT


def test_a_token_is_signed_with_the_given_subject_and_permissions(tmp_path: Path) -> None:
    done = tickets(
        tmp_path,
        "token",
        "--sub",
        "alice",
        "--client",
        "a",
        "--client",
        "b",
        "--permission",
        "AccessControl.EventView",
        "--ttl",
        "90s",
    )

    claims = jwt.decode(done.stdout.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["clients"], claims["permissions"]) == (
        "alice",
        ["a", "b"],
        ["AccessControl.EventView"],
    )
    assert claims["exp"] - claims["iat"] == 90


def test_a_token_for_all_has_every_permission(tmp_path: Path) -> None:
    done = tickets(tmp_path, "token", "--sub", "alice", "--client", "*", "--all")

    claims = jwt.decode(done.stdout.strip(), options={"verify_signature": False})
    assert "AccessControl.CredentialModify" in claims["permissions"]
    assert claims["exp"] - claims["iat"] == 3600


def test_the_version_is_that_of_the_project(tmp_path: Path) -> None:
    done = tickets(tmp_path, "--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"tickets {PROJECT['version']}\n", "")


def test_an_uninstalled_source_has_an_unknown_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "DISTRIBUTION", "not-installed")

    assert version.current() == "0+unknown"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token", "--sub", "a", "--client", "b"], "give the permissions with --permission, or --all"),
        (
            ["token", "--sub", "a", "--client", "b", "--all", "--ttl", "soon"],
            "--ttl soon: must be a number and a unit",
        ),
        (
            ["token", "--sub", "a", "--client", "b", "--permission", "Foo"],
            "unknown permission 'Foo'; expected one of AccessControl.CredentialBulkModify, ",
        ),
        (["token", "--client", "b", "--all"], "--sub"),
        (["serve", "--port", "0"], "--port"),
        (["fly"], "fly"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_remedy(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = tickets(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in re.sub(r"[\s│]+", " ", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_port_in_use_stops_the_start_before_the_demo(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = tickets(tmp_path, "serve", "--demo", "--port", str(port))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tickets: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert list(tmp_path.glob("var/*")) == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"TICKETS_DATABASE_URL": "mysql://x"},
            "TICKETS_DATABASE_URL: must be sqlite:///PATH or postgresql://…",
        ),
        (
            {"TICKETS_DATABSE_URL": "sqlite:///x"},
            "TICKETS_DATABSE_URL: unknown setting; docs/settings.md lists them",
        ),
        (
            {"TICKETS_OUTBOX_KEY": "short"},
            "TICKETS_OUTBOX_KEY: must be 32 bytes in base64: openssl rand -base64 32",
        ),
        ({"TICKETS_MAX_BATCH": "many"}, "TICKETS_MAX_BATCH: must be an integer"),
        (
            {"TICKETS_JWKS_URL": "https://issuer.example/jwks"},
            "TICKETS_JWKS_URL and TICKETS_JWKS_FILE require TICKETS_TOKEN_ISSUER and TICKETS_TOKEN_AUDIENCE",
        ),
        (
            {"TICKETS_JWKS_FILE": "x", "TICKETS_TOKEN_ISSUER": "i", "TICKETS_TOKEN_AUDIENCE": "a"},
            "the keys for tokens cannot be read",
        ),
        (
            {"TICKETS_RATE_LIMIT_PER_CALLER": "10/fortnight"},
            "TICKETS_RATE_LIMIT_PER_CALLER: must be a limit such as 600/minute, or off",
        ),
        (
            {"TICKETS_RATE_LIMIT_PER_CLIENT": "0/minute"},
            "TICKETS_RATE_LIMIT_PER_CLIENT: must be a limit such as 600/minute, or off",
        ),
        ({"TICKETS_DATABASE_URL": "sqlite:////proc/none/x.db"}, "/proc/none"),
        ({"TICKETS_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "the PostgreSQL store failed"),
        ({"TICKETS_MAIL_DIR": "/proc/none"}, "/proc/none"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    done = tickets(tmp_path, "serve", "--port", "1", **environment)

    assert done.returncode == 2
    assert done.stderr.startswith("tickets: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    "environment", [{"TICKETS_LANGUAGE": "xx"}, {"TICKETS_RATE_LIMIT_PER_CALLER": "banana"}]
)
def test_a_wrong_setting_stops_the_start_before_a_store_is_created(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = tickets(tmp_path, "serve", "--port", "0", **environment)

    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_the_service_signs_no_tokens_if_a_key_set_is_used(tmp_path: Path) -> None:
    done = tickets(
        tmp_path,
        *("token", "--sub", "a", "--client", "b", "--all"),
        TICKETS_JWKS_URL="https://issuer.example/jwks",
        TICKETS_TOKEN_ISSUER="i",
        TICKETS_TOKEN_AUDIENCE="a",
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "tokens come from the issuer of the key set" in done.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    done = tickets(tmp_path, "--help")

    assert done.returncode == 0
    assert all(command in done.stdout for command in ("serve", "token", "users", "jobs"))


def test_users_are_imported_from_a_file_with_a_report(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("userExtId,email\na,a@example.com\nb,nonsense\n")

    dry = tickets(tmp_path, "users", "import", "users.csv", "--client", "c", "--dry-run")
    refused = tickets(tmp_path, "users", "import", "users.csv", "--client", ".")
    done = tickets(tmp_path, "users", "import", "users.csv", "--client", "c")

    assert (dry.returncode, refused.returncode, done.returncode) == (1, 2, 1)
    assert "has no users" in refused.stderr
    assert "line 3: email:" in done.stderr
    assert "nothing changed" in dry.stdout
    assert re.search(r"│\s+1 │\s+1 │\s+1 │\s+0 │\s+0 │", done.stdout)


@pytest.mark.parametrize("content", [None, b"wrong,header\n", b"userExtId,email\xff\n"])
def test_a_file_that_cannot_be_imported_is_refused_with_the_reason(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "users.csv").write_bytes(content)

    done = tickets(tmp_path, "users", "import", "users.csv", "--client", "c")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Traceback" not in done.stderr


def test_an_import_ends_at_bytes_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"userExtId,email\na,a@b.ch\n\xff\xfe,a@b.ch\n")

    done = tickets(tmp_path, "users", "import", "users.csv", "--client", "c")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "line 3: not UTF-8: the file may be in another encoding, such as Windows-1252" in done.stderr


def test_imported_users_are_recorded_already(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("userExtId,email\na,a@example.com\n")
    tickets(tmp_path, "users", "import", "users.csv", "--client", "c")

    assert tickets(tmp_path, "users", "record").stdout == "0 users recorded.\n"
    exported = tickets(tmp_path, "audit", "export", "c").stdout.splitlines()
    assert [json.loads(line)["type"] for line in exported] == ["UserRegistered", "AccessNoted"]


def test_the_expiry_job_prints_its_result(tmp_path: Path) -> None:
    assert tickets(tmp_path, "jobs", "expire").stdout == "0 tickets expire soon, 0 have expired.\n"
