"""The commands for deliveries: check and show templates, rotate keys, deliver tickets, and report wrong input."""

import base64
import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from joserfc.jwk import ECKey
from pypdf import PdfReader

from application.subscriptions.define_subscription import DefineSubscription
from application.subscriptions.records import sealed_for
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method, SubscriptionKey
from interface.cli.delivery import commands
from interface.outbound.keys.aes_gcm_sealer import AesGcmSealer
from interface.outbound.mail import templates
from tests.support.command import Command, command
from tests.support.deliveries import all_over, minting, subjects
from tests.support.evidence import outbox_of, ticket_in
from tests.support.ledgers import opened

SAMPLE = templates.SAMPLE_TICKET
KEY, FORMER = bytes(range(32)), bytes(range(100, 132))


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int | None
    out: str
    err: str

    @property
    def reported(self) -> str:
        """The text on stderr, without the frames and line ends of the console."""
        return re.sub(r"[\s│]+", " ", self.err)


def run(directory: Path, *arguments: str, **settings: str) -> Done:
    output = f"out-{len(list(directory.iterdir()))}"
    running = Command(directory, *arguments, output=output, **settings)
    status = running.wait()
    running.kill()
    return Done(status, running.out.read_text(), running.err.read_text())


def in_base64(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    directory = tmp_path / "templates" / "client-123" / "rm"
    directory.mkdir(parents=True)
    (directory / "mail.txt").write_text("Bun di {{ name }}: {{ ticket }}\n")
    return directory


def test_the_built_in_templates_have_no_faults(tmp_path: Path) -> None:
    done = run(tmp_path, "templates", "check")

    assert (done.status, done.out, done.err) == (0, "20 templates, no faults.\n", "")


def test_custom_templates_are_checked_with_a_line_per_fault(tmp_path: Path, own: Path) -> None:
    good = run(tmp_path, "templates", "check", TICKETS_TEMPLATE_DIR="templates")
    (own / "mail.txt").write_text("Bun di\n{{ [bold] }}{{ nme }}")
    (own / "notes.txt").write_text("")
    bad = run(tmp_path, "templates", "check", TICKETS_TEMPLATE_DIR="templates")

    assert (good.status, good.out) == (0, "21 templates, no faults.\n")
    assert (bad.status, bad.out) == (1, "22 templates, 3 faults.\n")
    assert [line.split(": ")[0] for line in bad.err.splitlines()] == [
        "client-123/rm/mail.txt, line 2",
        "client-123/rm/mail.txt, line 2",
        "client-123/rm/notes.txt",
    ]
    assert "unknown placeholder 'nme'" in bad.err


def test_all_kinds_and_placeholders_are_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "templates", "kinds")

    assert done.status == 0
    assert tuple(commands.KINDS) == templates.KINDS
    assert tuple(commands.PLACEHOLDERS) == templates.PLACEHOLDERS
    for kind in templates.KINDS:
        assert f"│ {kind} " in done.out
    for placeholder in templates.PLACEHOLDERS:
        assert f"{{{{ {placeholder} }}}}" in done.out


def test_a_template_is_rendered_for_a_sample_user(tmp_path: Path, own: Path) -> None:
    assert own.exists()
    built_in = run(tmp_path, "templates", "render", "mail.txt", "--language", "de")
    settings = {"TICKETS_TEMPLATE_DIR": "templates", "TICKETS_TIME_ZONE": "Europe/Zurich"}
    of_client = run(tmp_path, "templates", "render", "mail.txt", "--language", "rm", **settings)
    of_another = run(
        tmp_path, "templates", "render", "mail.txt", "--language", "rm", "--client", "other", **settings
    )

    assert built_in.out.startswith("Guten Tag Zoë Müller\n")
    assert "28. November 2026, 09:42 Uhr (UTC)" in built_in.out
    assert of_client.out == f"Bun di Zoë Müller: {SAMPLE}\n"
    assert "28 November 2026 at 10:42 (CET)" in of_another.out


def test_a_rendered_template_is_written_to_a_file(tmp_path: Path) -> None:
    done = run(tmp_path, "templates", "render", "mail.html", "--language", "fr", "-o", "mail.html")

    content = (tmp_path / "mail.html").read_bytes()
    assert '<html lang="fr">' in content.decode()
    assert done.out == f"mail.html: {len(content):,} bytes\n"


def test_the_letter_is_rendered_as_pdf(tmp_path: Path) -> None:
    settings = {"TICKETS_LETTER_SENDER": "The bank · 8001 Zürich", "TICKETS_LETTER_WINDOW": "right"}
    done = run(
        tmp_path, "templates", "render", "letter.pdf", "--language", "it", "-o", "letter.pdf", **settings
    )

    assert (done.status, done.err) == (0, "")
    [page] = PdfReader(tmp_path / "letter.pdf").pages
    assert page.extract_text().splitlines()[:4] == [
        "The bank · 8001 Zürich",
        "Zoë Müller",
        "Bahnhofstrasse 1",
        "8001 Zürich",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["templates", "render", "mail.pdf"],
            "unknown kind 'mail.pdf'; expected one of subject.txt, mail.txt,",
        ),
        (["templates", "render", "../../etc/passwd"], "unknown kind"),
        (["templates", "render"], "argument 'kind'"),
        (
            ["templates", "render", "mail.txt", "-o", "missing/mail.txt"],
            "missing/mail.txt cannot be written:",
        ),
        (["templates", "render", "mail.txt", "-o", "."], "directory"),
        (["templates", "paint"], "paint"),
        (["deliver", "now"], "now"),
        (["keys", "rotate", "outbox"], "outbox"),
    ],
)
def test_a_wrong_input_is_refused_with_a_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(tmp_path, *arguments)

    assert (done.status, done.out) == (2, "")
    assert message in done.reported
    assert "Traceback" not in done.err


def test_a_rendering_error_is_reported_without_the_ticket(tmp_path: Path, own: Path) -> None:
    (own / "mail.txt").write_text("{{ {}[ticket].missing }}")

    done = run(
        tmp_path, "templates", "render", "mail.txt", "--language", "rm", TICKETS_TEMPLATE_DIR="templates"
    )

    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "tickets: cannot render client-123/rm/mail.txt; `tickets templates check` reports the reason\n"
    )


def test_a_letter_that_cannot_be_printed_is_reported(tmp_path: Path, own: Path) -> None:
    (own / "letter.txt").write_text("王小明\n\n    {{ ticket }}\n")

    done = run(
        tmp_path, "templates", "render", "letter.pdf", "--language", "rm", TICKETS_TEMPLATE_DIR="templates"
    )

    assert (done.status, done.err) == (2, "tickets: the letter's font lacks U+738B\n")


@pytest.mark.parametrize("arguments", [["templates", "check"], ["templates", "render", "mail.txt"]])
def test_a_missing_directory_of_templates_is_reported(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments, TICKETS_TEMPLATE_DIR="nowhere")

    assert (done.status, done.err) == (2, "tickets: TICKETS_TEMPLATE_DIR nowhere is not a directory\n")


def test_the_help_explains_the_commands(tmp_path: Path) -> None:
    assert "Deliver tickets in a" in run(tmp_path, "deliver", "--help").out
    assert "CLIENT/LANGUAGE/KIND" in run(tmp_path, "templates", "check", "--help").out
    assert "--outbox" in run(tmp_path, "keys", "rotate", "--help").out


def test_queued_tickets_are_delivered_until_a_stop_signal(tmp_path: Path, sqlite_url: str) -> None:
    [user] = subjects(1)
    with minting(tmp_path, sqlite_url) as minter:
        minter.create(user)
    assert len(outbox_of(sqlite_url)) == 1

    with command(tmp_path, "deliver") as worker:
        all_over(sqlite_url)
        assert worker.stop() == 0

    [mail] = (tmp_path / "var" / "mail").glob("*.eml")
    assert stat.S_IMODE(mail.stat().st_mode) == 0o600
    clear = ticket_in(mail).reveal()
    assert len(clear) == 24
    assert clear not in worker.out.read_text() + worker.err.read_text()


WEBHOOK = {
    "TICKETS_DELIVERY_WEBHOOK_URL": "https://mailer.example/hook",
    "TICKETS_DELIVERY_WEBHOOK_KEY_FILE": "mailer.jwk",
    "TICKETS_DELIVERY_WEBHOOK_SECRET": "whsec_c2VjcmV0",
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"TICKETS_MAIL_FROM": "a@b.ch, c@d.ch"}, "TICKETS_MAIL_FROM must be an address such as Tickets <"),
        ({"TICKETS_SMTP_URL": "smtp://user:s3cr3t@"}, "TICKETS_SMTP_URL"),
        ({"TICKETS_SMTP_URL": "smtps://mail.example", "TICKETS_SMTP_CA_FILE": "none.pem"}, "none.pem"),
        ({"TICKETS_MAIL_DIR": "/proc/none"}, "/proc/none"),
        ({"TICKETS_LETTER_DIR": "/proc/none"}, "/proc/none"),
        ({"TICKETS_LETTER_WINDOW": "top"}, "TICKETS_LETTER_WINDOW: must be 'left' or 'right'"),
        ({"TICKETS_TEMPLATE_DIR": "nowhere"}, "TICKETS_TEMPLATE_DIR nowhere is not a directory"),
        ({"TICKETS_LANGUAGE": "d"}, "TICKETS_LANGUAGE: must be a language tag such as en or de-CH"),
        ({"TICKETS_LANGUAGE": "xx"}, "TICKETS_LANGUAGE: no templates in xx; expected one of de, en, fr, it"),
        ({"TICKETS_TIME_ZONE": "Zurich"}, "TICKETS_TIME_ZONE: must be a time zone such as Europe/Zurich"),
        (WEBHOOK, "mailer.jwk"),
        ({"TICKETS_DELIVERY_WEBHOOK_URL": "https://mailer.example"}, "must be set together"),
        ({"TICKETS_OUTBOX_KEY": in_base64(b"s3cr3t")}, "TICKETS_OUTBOX_KEY: must be 32 bytes in base64"),
        ({"TICKETS_OUTBOX_KEY_COMMAND": "false"}, "the command for the outbox key failed: exit status 1"),
        (
            {"TICKETS_OUTBOX_KEY_COMMAND": "echo s3cr3t"},
            "the output of the command for the outbox key must be",
        ),
        (
            {"TICKETS_OUTBOX_KEY_COMMAND": "true", "TICKETS_OUTBOX_KEY": in_base64(KEY)},
            "TICKETS_OUTBOX_KEY and TICKETS_OUTBOX_KEY_COMMAND are mutually exclusive",
        ),
        ({"TICKETS_OUTBOX_KEY_FILE": "short.key"}, "an outbox key has 32 bytes; the file has 6"),
        ({"TICKETS_DATABASE_URL": "sqlite:////proc/none/x.db"}, "/proc/none"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    (tmp_path / "short.key").write_bytes(b"s3cr3t")
    (tmp_path / "short.key").chmod(0o600)

    done = run(tmp_path, "deliver", **settings)

    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(r"tickets: [^\n]+\n", done.err)
    assert message in done.err
    assert "s3cr3t" not in done.err
    assert in_base64(b"s3cr3t") not in done.err


def test_a_private_key_of_the_mailer_stops_the_start(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256").as_dict(private=True)
    (tmp_path / "mailer.jwk").write_text(json.dumps(key))

    done = run(tmp_path, "deliver", **WEBHOOK)

    assert done.err == "tickets: mailer.jwk contains a private key; only the public key belongs here\n"


def given_sealed(directory: Path, database_url: str, key: bytes | None = None) -> None:
    """Queue two tickets, and define a subscription."""
    if key:
        path = directory / "var" / "keys" / "outbox.key"
        path.parent.mkdir(parents=True)
        path.write_bytes(key)
        path.chmod(0o600)
    with minting(directory, database_url) as minter:
        minter.create(*subjects(2))
        minter._execute(
            DefineSubscription,
            subject=Subject("client-123"),
            name="siem",
            method=Method.WEBHOOK,
            url=Secret("https://siem.example/hook"),
            secret=Secret("whsec_x"),
        )


def sealed_under(database_url: str, key: bytes) -> int:
    """Return how many of the three secrets are sealed with this key."""
    sealer = AesGcmSealer(lambda: [key])
    with opened(database_url) as store:
        seals = [(entry.delivery_id, entry.sealed) for entry in store.outbox_page(None, 10)]
        seals += [(sealed_for(name), sealed) for name, sealed in store.subscription_seals(None, 10)]
        assert [name for name, _ in store.subscription_seals(None, 10)] == [
            SubscriptionKey("client-123", "siem")
        ]
    assert len(seals) == 3
    return sum(sealer.is_new(sealed) and bool(sealer.unseal(sealed, to)) for to, sealed in seals)


def test_a_rotation_reseals_all_queued_tickets_and_the_previous_key_still_unseals(
    tmp_path: Path, sqlite_url: str
) -> None:
    given_sealed(tmp_path, sqlite_url)
    path = tmp_path / "var" / "keys" / "outbox.key"
    first = path.read_bytes()
    assert sealed_under(sqlite_url, first) == 3

    done = run(tmp_path, "keys", "rotate", "--outbox")

    assert (done.status, done.err) == (0, "")
    assert done.out == "2 tickets and 1 subscription re-encrypted.\n"
    second, former = path.read_bytes()[:32], path.read_bytes()[32:]
    assert former == first
    assert sealed_under(sqlite_url, second) == 3

    again = run(tmp_path, "keys", "rotate", "--outbox")

    third, former = path.read_bytes()[:32], path.read_bytes()[32:]
    assert again.out == "2 tickets and 1 subscription re-encrypted.\n"
    assert former == second
    assert sealed_under(sqlite_url, third) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("source", ["TICKETS_OUTBOX_KEY", "TICKETS_OUTBOX_KEY_COMMAND"])
def test_external_keys_are_rotated_outside_and_queued_tickets_are_resealed(
    tmp_path: Path, sqlite_url: str, source: str
) -> None:
    given_sealed(tmp_path, sqlite_url, FORMER)
    keys = in_base64(KEY, FORMER)
    settings = {source: keys if source == "TICKETS_OUTBOX_KEY" else f"echo {keys}"}

    refused = run(tmp_path, "keys", "rotate", "--outbox", **settings)
    done = run(tmp_path, "keys", "reseal", **settings)
    again = run(tmp_path, "keys", "reseal", **settings)

    assert refused.status == 2
    assert "is not a file here: add the new key after the current one" in " ".join(refused.err.split())

    assert done.out == "2 tickets and 1 subscription re-encrypted.\n"
    assert sealed_under(sqlite_url, KEY) == 3
    assert again.out == "0 tickets and 0 subscriptions re-encrypted.\n"
    assert (tmp_path / "var" / "keys" / "outbox.key").read_bytes() == FORMER


def test_a_lost_key_loses_only_the_queued_tickets_and_is_reported(tmp_path: Path, sqlite_url: str) -> None:
    given_sealed(tmp_path, sqlite_url)
    path = tmp_path / "var" / "keys" / "outbox.key"
    lost = path.read_bytes()
    path.unlink()

    done = run(tmp_path, "keys", "rotate", "--outbox")

    assert done.status == 2
    assert done.out == "0 tickets and 0 subscriptions re-encrypted.\n"
    assert done.err == (
        "tickets: 2 tickets and 1 subscription were encrypted with a key that is missing, and nothing else is lost with"
        " it: restore the key, or reset the tickets (GET …/ticket/deliveries lists them) and define the subscriptions"
        " again\n"
    )
    # Nothing is lost after the key is restored.
    path.write_bytes(path.read_bytes()[:32] + lost)
    back = run(tmp_path, "keys", "rotate", "--outbox")
    assert (back.status, back.out) == (0, "2 tickets and 1 subscription re-encrypted.\n")
    assert sealed_under(sqlite_url, path.read_bytes()[:32]) == 3


def test_the_ledger_key_is_rotated_separately(tmp_path: Path, sqlite_url: str) -> None:
    given_sealed(tmp_path, sqlite_url)
    path = tmp_path / "var" / "keys" / "outbox.key"
    before = path.read_bytes()

    done = run(tmp_path, "keys", "rotate")

    assert done.status == 0
    assert path.read_bytes() == before
