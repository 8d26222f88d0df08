import email
import email.policy
import stat
from email.message import EmailMessage
from pathlib import Path

import pytest

from application.ports import OutboxEntry
from application.recipient import Recipient
from domain.ticket import ClearTicket
from domain.ticket_credential import stream_id
from interface.outbound.mail_spool import MailSpool
from tests.support.fakes import NOW, SUBJECT

ENTRY = OutboxEntry(SUBJECT, stream_id(*SUBJECT), 7, b"", NOW)


def recipient(**changes: str | None) -> Recipient:
    known = {"email": "una@example.com", "name": "Una Üser", "language": None, **changes}
    return Recipient(
        client_ext_id="client-123",
        user_ext_id="user-123",
        created=NOW,
        last_modified=NOW,
        version=1,
        **known,  # type: ignore[arg-type]
    )


def delivered(directory: Path, **changes: str | None) -> EmailMessage:
    MailSpool(directory, "tickets@example.com").deliver(
        ClearTicket("the-ticket"), recipient(**changes), ENTRY
    )
    [file] = directory.iterdir()
    return email.message_from_bytes(file.read_bytes(), policy=email.policy.default)


def test_the_mail_names_its_ticket_once_and_for_all_attempts(tmp_path: Path) -> None:
    message = delivered(tmp_path / "mail")

    assert message["Message-ID"] == f"<{stream_id(*SUBJECT)}-7@tickets>"
    assert message["To"] == "una@example.com"
    assert message["From"] == "tickets@example.com"
    assert "the-ticket" in message.get_content()


def test_only_the_service_reads_the_mail(tmp_path: Path) -> None:
    delivered(tmp_path / "mail")

    [file] = (tmp_path / "mail").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) == 0o700


def test_delivering_again_is_the_same_one_mail(tmp_path: Path) -> None:
    first = delivered(tmp_path / "mail").as_bytes()

    assert delivered(tmp_path / "mail").as_bytes() == first


def test_a_draft_that_a_crash_left_is_overwritten(tmp_path: Path) -> None:
    directory = tmp_path / "mail"
    directory.mkdir()
    (directory / f"{ENTRY.delivery_id}.draft").write_text("half a ma")

    assert "the-ticket" in delivered(directory).get_content()


@pytest.mark.parametrize(
    "name", [None, 'Eve "The" <eve@example.com>', "=?utf-8?q?a=0d=0aBcc:=20eve@example.com?="]
)
def test_a_name_is_text_and_never_a_header(tmp_path: Path, name: str | None) -> None:
    message = delivered(tmp_path / "mail", name=name)

    assert (message["To"], message["Bcc"]) == ("una@example.com", None)
    assert f"Hello {name or 'user-123'}," in message.get_content()
