"""The converters of docs/importers: their rows are imported, and the tickets verify."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from application.tickets.credential_row import CredentialRow
from interface.http.policies.routes import PolicyBody
from tests.bench import peer
from tests.domain.tickets.test_stored_hash import hashed
from tests.support.command import tickets
from tests.support.server import ROOT, serving
from tests.system.test_bench_peer import NOT_INSTALLED

IMPORTERS = ROOT / "docs" / "importers"
CSV = f"""\
extid,user_extid,policy_extid,state,state_change_reason,ticket,validity_from,validity_to,ctl_cre_dat,ctl_tcn,\
failure_count,reset_count,modification_comment,auto_transition_date,ctl_mod_uid
t-1,anna,,ACTIVE,1,{hashed("SSHA256", "ticket-of-anna", b"12345678")},2026-01-01 00:00:00,2036-01-01T00:00:00+01:00,\
2025-01-01T00:00:00Z,7,0,2,"moved, later",,admin
t-2,ben,,LOCKED_TEMPORARY,too_many_login_failures,{hashed("SSHA256", "ticket-of-ben", b"1")},,2036-01-01T00:00:00Z,,,2,,,\
2036-01-01T00:00:00,
"""


def converted(*arguments: str, given: str = "", token: str = "") -> subprocess.CompletedProcess[str]:
    """Run the converter of nevisIDM."""
    return subprocess.run(
        [sys.executable, str(IMPORTERS / "nevisidm" / "convert.py"), *arguments],
        input=given,
        env={"NEVISIDM_TOKEN": token},
        capture_output=True,
        text=True,
        check=True,
    )


def rows_of(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_rows_of_the_database_of_nevisidm_are_imported(tmp_path: Path) -> None:
    done = converted("csv", given=CSV)

    anna, ben = rows_of(done.stdout)
    assert anna == {
        "extId": "t-1",
        "userExtId": "anna",
        "stateName": "active",
        "stateChangeReason": "initialized",
        "ticket": hashed("SSHA256", "ticket-of-anna", b"12345678"),
        "created": "2025-01-01T00:00:00Z",
        "version": 7,
        "failedLoginCount": 0,
        "resetCount": 2,
        "modificationComment": "moved, later",
        "validity": {"from": "2026-01-01T00:00:00Z", "to": "2035-12-31T23:00:00Z"},
    }
    assert (ben["stateName"], ben["stateChangeReason"]) == ("tmp-locked", "too-many-login-failures")
    assert ben["lockedUntil"] == "2036-01-01T00:00:00Z"
    assert done.stderr == "not converted: ctl_mod_uid (2)\n"
    (tmp_path / "rows.ndjson").write_text(done.stdout)
    (tmp_path / "users.csv").write_text("userExtId,email\nanna,a@example.com\nben,b@example.com\n")
    assert tickets(tmp_path, "users", "import", "users.csv", "--client", "bank").returncode == 0
    given = ("--client", "bank", "--source", "nevisidm")
    assert tickets(tmp_path, "credentials", "import", "rows.ndjson", *given).returncode == 0
    with serving(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db") as server:
        for user, verdict in (("anna", None), ("ben", "locked")):
            path = f"/bank/users/{user}/ticket/verify"
            answer = server.client.post(path, json={"ticket": f"ticket-of-{user}"})
            assert answer.json()["reason"] == verdict


def test_the_rest_resource_of_nevisidm_is_read(tmp_path: Path) -> None:
    """This service has the same resource."""
    with serving(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db") as server:
        for user in ("anna", "ben/2"):
            path = f"/client-123/users/{user.replace('/', '%2F')}"
            server.client.put(path, json={"email": "u@example.com"}).raise_for_status()
            server.client.post(f"{path}/ticket", json={"extId": f"t-{user}"}).raise_for_status()
        token = tickets(tmp_path, "token", "--sub", "importer", "--client", "*", "--all").stdout.strip()

        done = converted(
            "rest", f"http://127.0.0.1:{server.port}", "client-123", given="anna\nben/2\ncarla\n", token=token
        )

    rows = rows_of(done.stdout)
    assert [(row["userExtId"], row["extId"]) for row in rows] == [("anna", "t-anna"), ("ben/2", "t-ben/2")]
    for row in rows:
        CredentialRow.model_validate_json(json.dumps(row))
    assert done.stderr == "not converted: users without a ticket (1)\n"


@pytest.mark.parametrize(
    ("parameters", "expected", "dropped"),
    [
        (
            {
                "credentialLifetime": "432000000",
                "sendingMethod": "SMS_SMTP, Email,PDFstore",
                "hashAlgorithm": "SSHA",
            },
            {
                "credentialLifetime": 432000000,
                "sendingMethod": ["Email", "PDFstore"],
                "hashAlgorithm": "SSHA256",
            },
            "sendingMethod SMS_SMTP",
        ),
        (
            {"maxCredFailureCount": "-1", "ticketCharacterSet": "aab", "tmpLockingMode": "strict"},
            {"maxCredFailureCount": -1, "ticketCharacterSet": "ab"},
            "tmpLockingMode",
        ),
    ],
)
def test_a_policy_of_nevisidm_is_a_body_of_a_policy(parameters: Any, expected: Any, dropped: str) -> None:
    done = converted("policy", given=json.dumps({"parameters": parameters, "defaultPolicy": True}))

    body = json.loads(done.stdout)
    assert body == {"parameters": expected, "defaultPolicy": True}
    PolicyBody.model_validate(body)
    assert done.stderr == f"not converted: {dropped} (1)\n"


# Run by the Python of privacyIDEA: prints the code of each token.
GIVEN_TOKENS = """
import json, os
from privacyidea.app import create_app
from privacyidea.lib.token import enable_token, init_token
from privacyidea.lib.user import User

app = create_app(config_name="production", config_file=os.environ["PRIVACYIDEA_CONFIGFILE"], silent=True)
codes = {}
with app.app_context():
    for number, kind, terms in (
        (1, "registration", {"pin": ""}),
        (2, "pw", {"otpkey": "of-the-second-user", "pin": ""}),
        (3, "registration", {"pin": "1234"}),
        (4, "registration", {"pin": "", "validity_period_end": "2036-01-01T00:00+0100"}),
        (4, "pw", {"otpkey": "newer", "pin": ""}),
    ):
        user = User(f"user-{number}", realm="bank")
        token = init_token({"type": kind, "serial": f"{kind}-{number}", "genkey": 1, **terms}, user=user)
        codes[f"user-{number}"] = token.token.get_otpkey().getKey().decode()
        if number == 2:
            token.token.failcount = 3
            token.token.save()
    enable_token("pw-4", enable=False)
print(json.dumps(codes))
"""


@NOT_INSTALLED
@pytest.mark.timeout(300)  # privacyIDEA starts slowly
def test_tokens_of_privacyidea_are_imported(tmp_path: Path) -> None:
    theirs = tmp_path / "privacyidea"
    theirs.mkdir()
    url = f"sqlite:///{theirs}/privacyidea.sqlite"
    stage: Any = SimpleNamespace(store="SQLite", directory=theirs)
    peer._manage(theirs, url, "setup", "create_tables")
    peer._manage(theirs, url, "config", "import", given=peer._users(stage, url))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(peer.HOME / "bin/python"), *arguments],
            env=peer._environment(theirs, url),
            capture_output=True,
            text=True,
            check=True,
        )

    codes = json.loads(run("-c", GIVEN_TOKENS).stdout.splitlines()[-1])
    convert = str(IMPORTERS / "privacyidea" / "convert.py")

    done = run(convert, "credentials", "bank")

    assert run(convert, "credentials", "bank").stdout == done.stdout
    rows = {row["userExtId"]: row for row in rows_of(done.stdout)}
    assert {user: (row["extId"], row["stateName"]) for user, row in rows.items()} == {
        "user-1": ("registration-1", "active"),
        "user-2": ("pw-2", "active"),
        "user-4": ("pw-4", "disabled"),
    }
    assert rows["user-2"]["failedLoginCount"] == 3
    assert not [code for code in codes.values() if code in done.stdout + done.stderr]
    assert "not converted: tokens with a PIN (1)" in done.stderr
    assert "not converted: tokens of a user with a newer one (1)" in done.stderr
    (tmp_path / "rows.ndjson").write_text(done.stdout)
    users = run(convert, "users", "bank").stdout.replace(",,", ",u@example.com,")
    (tmp_path / "users.csv").write_text("\n".join(users.splitlines()[:10]) + "\n")
    assert tickets(tmp_path, "users", "import", "users.csv", "--client", "bank").returncode == 0
    given = ("--client", "bank", "--source", "privacyidea")
    imported = tickets(tmp_path, "credentials", "import", "rows.ndjson", *given)
    assert imported.returncode == 0, imported.stderr
    with serving(tmp_path, f"sqlite:///{tmp_path}/var/tickets.db") as server:
        answer = server.client.post("/bank/users/user-1/ticket/verify", json={"ticket": codes["user-1"]})
        assert answer.json()["verified"]
        answer = server.client.post("/bank/users/user-4/ticket/verify", json={"ticket": codes["user-4"]})
        assert answer.json()["reason"] == "disabled"
