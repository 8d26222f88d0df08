"""Checkpoints are sent to witnesses: a directory, a webhook, a time stamp authority."""

import asyncio
import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from rfc3161_client import decode_timestamp_response

from application.record.checkpoint import CheckpointSender, make_checkpoints
from application.record.ledger import Checkpoint
from interface.composition.register import TABLES
from interface.outbound.http_out.witnesses import CheckpointDirectory, CheckpointWebhook, TimeStampAuthority
from interface.outbound.keys.issuer_keys import fetch_key_set
from interface.outbound.keys.ledger_keys import LedgerKeys, read_checkpoints
from interface.outbound.sql.sqlite_store import SqliteStore
from tests.support.fakes import NOW, SUBJECT
from tests.support.files import files_in
from tests.support.receiver import OK, answer, receiving
from tests.support.service import service_over

CHECKPOINT = Checkpoint("client/1", 7, b"r" * 32, "tickets/client%2F1\n7\ncm9vdA==\n\n— tickets c2ln\n", NOW)


@contextmanager
def http_server(answer: Callable[[bytes], tuple[int, bytes]]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the URL of a server for POSTs, and the received requests."""
    sent: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answer(sent[-1])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_checkpoint_is_written_once_and_read_back(tmp_path: Path) -> None:
    directory = CheckpointDirectory(tmp_path / "outside")

    directory.send(CHECKPOINT)
    directory.send(CHECKPOINT)

    [file] = files_in(tmp_path / "outside")
    assert file.name == "client%2F1-000000000007.checkpoint"
    [read] = read_checkpoints([tmp_path / "outside"])
    assert (read.client_ext_id, read.size, read.note) == ("client/1", 7, CHECKPOINT.note)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hard_link(path: Path) -> None:
    (path.parent / "other").write_text(CHECKPOINT.note)
    path.hardlink_to(path.parent / "other")


def large(path: Path) -> None:
    path.write_bytes(b"x" * (1024 * 1024 + 1))


def forged(path: Path) -> None:
    path.write_text(CHECKPOINT.note.replace("tickets/", "forged/"))
    os.chown(path, 65_534, 65_534)


@pytest.mark.parametrize(
    "place",
    [
        fifo,
        link,
        hard_link,
        large,
        pytest.param(
            forged, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
        ),
    ],
)
def test_a_foreign_file_in_place_of_a_checkpoint_is_refused_by_name(
    tmp_path: Path, place: Callable[[Path], None]
) -> None:
    directory, path = CheckpointDirectory(tmp_path), tmp_path / "client%2F1-000000000007.checkpoint"
    place(path)

    with pytest.raises(OSError, match="remove it") as refused:
        directory.send(CHECKPOINT)
    directory.send(replace(CHECKPOINT, client_ext_id="client-2"))

    assert str(path) in str(refused.value)
    assert (tmp_path / "client-2-000000000007.checkpoint").read_text() == CHECKPOINT.note


def test_a_file_that_is_not_text_is_another_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "client%2F1-000000000007.checkpoint").write_bytes(b"\xff\xfe\0")

    CheckpointDirectory(tmp_path).send(CHECKPOINT)

    assert len(list(tmp_path.glob("client%2F1-000000000007-*.checkpoint"))) == 1


def test_the_checkpoints_of_the_installation_are_no_hidden_files(tmp_path: Path) -> None:
    CheckpointDirectory(tmp_path).send(replace(CHECKPOINT, client_ext_id="."))

    assert [file.name for file in files_in(tmp_path)] == ["%2E-000000000007.checkpoint"]


def test_a_webhook_gets_the_note() -> None:
    with http_server(lambda _: (204, b"")) as (url, sent):
        CheckpointWebhook(url).send(CHECKPOINT)

    assert sent == [CHECKPOINT.note.encode()]


def test_a_failing_or_missing_webhook_is_an_error() -> None:
    with http_server(lambda _: (500, b"")) as (url, _), pytest.raises(OSError, match="500"):
        CheckpointWebhook(url).send(CHECKPOINT)
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        CheckpointWebhook(url + "?token=secret").send(CHECKPOINT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_witness_that_redirects_has_no_checkpoint(tmp_path: Path, status: int) -> None:
    with receiving(
        lambda request: (
            answer(status, "Location: /elsewhere", "Connection: close") if request.path == "/hook" else OK
        )
    ) as receiver:
        url = receiver.url("/hook")
        for send in (CheckpointWebhook(url).send, TimeStampAuthority(url, tmp_path).send):
            with pytest.raises(OSError, match=f"{status}: redirects are not followed"):
                send(CHECKPOINT)

    assert [request.path for request in receiver.received] == ["/hook"] * 2
    assert not list(tmp_path.glob("*.tsr"))


@pytest.mark.parametrize(
    "reported",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        answer(200, "Content-Encoding: gzip", body=b"0" * 100),
        answer(200, body=b"\x30\x80" * 100_000),
        answer(200, body=b"0" * 2_000_000),
        answer(200),
    ],
    ids=range(8),
)
def test_any_nonsense_of_a_time_stamp_authority_is_an_error(tmp_path: Path, reported: bytes) -> None:
    with receiving(lambda _: reported) as receiver, pytest.raises(OSError, match=r"invalid|lost"):
        TimeStampAuthority(receiver.url("/tsa"), tmp_path).send(CHECKPOINT)


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url("/"))
        CheckpointWebhook("http://outside.invalid/hook").send(CHECKPOINT)

    assert [request.path for request in proxy.received] == ["http://outside.invalid/hook"]


def test_the_credentials_of_netrc_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login operator password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with receiving() as receiver:
        CheckpointWebhook(receiver.url("/hook")).send(CHECKPOINT)
        with pytest.raises(ValueError, match="not JSON"):
            asyncio.run(fetch_key_set(receiver.url("/jwks")))

    assert [request.headers.get("Authorization") for request in receiver.received] == [None, None]


def test_hosts_without_a_proxy_are_honoured_and_credentials_of_the_proxy_are_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}/")
        monkeypatch.setenv("no_proxy", f"127.0.0.1:{receiver.port}")
        CheckpointWebhook(receiver.url("/hook")).send(CHECKPOINT)
        CheckpointWebhook("http://outside.invalid/hook").send(CHECKPOINT)

    assert [request.path for request in receiver.received] == ["/hook"]
    [request] = proxy.received
    assert request.headers["Proxy-Authorization"] == "Basic dXNlcjp3b3Jk"


def authority(directory: Path) -> Callable[[bytes], tuple[int, bytes]]:
    """A real time stamp authority, by openssl: `ca.pem` signs `intermediate.pem`, which signs its certificate."""
    config = directory / "tsa.cnf"
    config.write_text(
        "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\n"
        "[req]\ndistinguished_name=name\n[name]\n[ca]\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=critical,keyCertSign\n[tsa_cert]\nextendedKeyUsage=critical,timeStamping\n"
    )

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    def certificate(name: str, kind: str, *issuer: str) -> None:
        new = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}", "-config", "tsa.cnf")
        openssl(
            *("req", "-x509", *new, "-extensions", kind, *issuer),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )

    certificate("ca", "ca")
    certificate("intermediate", "ca", "-CA", "ca.pem", "-CAkey", "ca.key")
    certificate("tsa", "tsa_cert", "-CA", "intermediate.pem", "-CAkey", "intermediate.key")

    def answer(query: bytes) -> tuple[int, bytes]:
        (directory / "query").write_bytes(query)
        stamp = ("-signer", "tsa.pem", "-inkey", "tsa.key", "-chain", "intermediate.pem", "-out", "reply")
        openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", *stamp)
        return 200, (directory / "reply").read_bytes()

    return answer


def test_a_time_stamp_authority_stamps_the_note(tmp_path: Path) -> None:
    kept = tmp_path / "outside"
    with http_server(authority(tmp_path)) as (url, _):
        TimeStampAuthority(url, kept).send(CHECKPOINT)

    stamp = decode_timestamp_response((kept / "client%2F1-000000000007.tsr").read_bytes())
    assert stamp.tst_info.policy.dotted_string == "1.2.3.4"


def test_a_time_stamp_must_lead_to_the_given_certificate(tmp_path: Path) -> None:
    kept, others = tmp_path / "outside", tmp_path / "others"
    others.mkdir()
    authority(others)
    with http_server(authority(tmp_path)) as (url, sent):
        with pytest.raises(OSError, match=r"invalid response of the time stamp authority: .*certificates"):
            TimeStampAuthority(url, kept, others / "ca.pem").send(CHECKPOINT)
        assert not list(kept.glob("*.tsr"))
        for _ in range(2):
            TimeStampAuthority(url, kept, tmp_path / "ca.pem").send(CHECKPOINT)

    assert len(sent) == 2
    with pytest.raises(ValueError, match="PEM"):
        TimeStampAuthority(url, kept, tmp_path / "tsa.cnf")


def test_a_time_stamp_belongs_to_the_checkpoint_beside_it(tmp_path: Path) -> None:
    kept = tmp_path / "outside"
    again = replace(CHECKPOINT, note=CHECKPOINT.note.replace("\n\n", "\nheads 1 cm9vdA==\n\n"))
    CheckpointDirectory(kept).send(CHECKPOINT)
    stamp = kept / "client%2F1-000000000007.tsr"
    with http_server(authority(tmp_path)) as (url, sent):
        TimeStampAuthority(url, tmp_path / "of-again").send(again)
        other = (tmp_path / "of-again" / stamp.name).read_bytes()
        stamp.write_bytes(other)

        TimeStampAuthority(url, kept).send(again)
        TimeStampAuthority(url, kept).send(CHECKPOINT)

    assert len(sent) == 2
    imprint = decode_timestamp_response(stamp.read_bytes()).tst_info.message_imprint.message
    assert imprint == hashlib.sha256(stamp.with_suffix(".checkpoint").read_bytes()).digest()


def test_a_client_with_a_long_id_has_a_hashed_file_name(tmp_path: Path) -> None:
    long = [replace(CHECKPOINT, client_ext_id=character * 100) for character in "\U0001f600é"]
    at_limit = replace(CHECKPOINT, client_ext_id="c" * 224)
    directory = CheckpointDirectory(tmp_path)

    for checkpoint in (*long, at_limit):
        for root in (b"r", b"s"):
            note = checkpoint.note.replace("cm9vdA", root.hex())
            directory.send(replace(checkpoint, note=note, root=root * 32))

    names = {file.name.removesuffix(".checkpoint") for file in files_in(tmp_path)}
    hashed = {hashlib.sha256(one.client_ext_id.encode()).hexdigest() for one in (*long, at_limit)}
    assert len(names) == 6
    assert f"{at_limit.client_ext_id}-000000000007" in names
    assert {name.split("-")[0] for name in names} == hashed | {at_limit.client_ext_id}


def test_an_invalid_time_stamp_is_an_error(tmp_path: Path) -> None:
    with (
        http_server(lambda _: (200, b"nonsense")) as (url, _),
        pytest.raises(OSError, match="invalid response"),
    ):
        TimeStampAuthority(url, tmp_path).send(CHECKPOINT)


def test_a_ledger_is_signed_after_enough_entries_or_enough_time(sqlite_url: str, tmp_path: Path) -> None:
    store = SqliteStore(Path(sqlite_url.removeprefix("sqlite:///")), TABLES)
    with service_over(store) as service:
        keys = LedgerKeys(tmp_path / "keys", "tickets", clock=service.clock, overlap=timedelta())

        def sign() -> int:
            return make_checkpoints(
                ledger=store, signer=keys, clock=service.clock, every_events=3, every=timedelta(minutes=1)
            )

        service.register()
        service.create()
        assert [sign(), sign()] == [1, 0]
        service.regenerate()
        assert sign() == 0
        service.clock.advance(timedelta(minutes=1))
        assert sign() == 1
        for _ in range(3):
            service.regenerate()
        assert sign() == 1
        assert [one.size for one in store.checkpoints(SUBJECT.client_ext_id, 0, 10)] == [2, 3, 6]
        # A failed one is sent again, and does not delay the others.
        assert CheckpointSender(store, [CheckpointWebhook("http://127.0.0.1:1/")]).run() == 0
        assert CheckpointSender(store, [CheckpointDirectory(tmp_path / "outside")]).run() == 3
        assert CheckpointSender(store, [CheckpointDirectory(tmp_path / "outside")]).run() == 0
    store.close()
    assert len(read_checkpoints([tmp_path / "outside"])) == 3


def test_a_large_ledger_is_signed_tile_by_tile(sqlite_url: str, tmp_path: Path) -> None:
    store = SqliteStore(Path(sqlite_url.removeprefix("sqlite:///")), TABLES)
    with service_over(store) as service:
        keys = LedgerKeys(tmp_path / "keys", "tickets", clock=service.clock, overlap=timedelta())
        service.register()
        service.create()
        for count in (254, 1, 1, 300):
            for _ in range(count):
                service.regenerate()
            made = make_checkpoints(
                ledger=store, signer=keys, clock=service.clock, every_events=1, every=timedelta()
            )
            assert made == 1
        assert len(store.tiles(SUBJECT.client_ext_id, 0, 10)) == 2
    store.close()
