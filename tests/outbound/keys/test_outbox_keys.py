"""Outbox keys from a file, the environment or a command; they change at run time and are never shown."""

import base64
import itertools
import os
import shlex
import stat
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from application.shared.errors import SealBroken
from interface.outbound.keys import outbox_keys
from interface.outbound.keys.aes_gcm_sealer import AesGcmSealer
from interface.outbound.keys.outbox_keys import OutboxKeyFile, outbox_keys_of, parse_outbox_keys
from tests.support.files import files_in
from tests.support.pending import TICKET

KEY, FORMER = bytes(range(32)), bytes(range(100, 132))


def text_of(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


def is_in(error: object, *keys: bytes) -> bool:
    """Return whether the text contains a key in any encoding."""
    reported = f"{error} {error!r}"
    return any(
        form in reported for key in keys for form in (text_of(key)[:8], key.hex()[:8], repr(key)[2:10])
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "outbox.key"


def test_a_file_is_created_with_one_key_that_only_the_service_can_read(path: Path) -> None:
    [key] = OutboxKeyFile(path)()

    assert path.read_bytes() == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(OutboxKeyFile(path)()) == [key]


def test_two_files_never_have_the_same_key(tmp_path: Path) -> None:
    assert OutboxKeyFile(tmp_path / "one")() != OutboxKeyFile(tmp_path / "two")()


def test_keys_in_a_file_are_concatenated(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(KEY + FORMER)

    assert list(OutboxKeyFile(path)()) == [KEY, FORMER]


@pytest.mark.parametrize("content", [b"", KEY[:31], KEY + FORMER[:1], text_of(KEY).encode()])
def test_a_file_without_keys_stops_the_start_and_is_not_shown(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(ValueError, match="an outbox key has 32 bytes; the file has") as raised:
        OutboxKeyFile(path)()

    assert str(path) in str(raised.value)
    assert not is_in(raised.value, KEY, FORMER)
    assert path.read_bytes() == content


def test_an_unwritable_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")

    with pytest.raises(OSError, match="keys"):
        OutboxKeyFile(tmp_path / "keys" / "outbox.key")()


def test_a_key_is_never_printed(path: Path) -> None:
    assert repr(OutboxKeyFile(path)) == "OutboxKeyFile(***)"


def test_a_rotation_adds_a_new_first_key_and_keeps_the_current_one(path: Path) -> None:
    keys = OutboxKeyFile(path)
    [first] = keys()

    keys.rotate()
    second, former = keys()
    keys.rotate()
    third, before_it = keys()

    assert former == first
    assert before_it == second
    assert len({first, second, third}) == 3
    assert path.read_bytes() == third + second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files_in(path.parent) == [path]


def test_a_rotation_reaches_running_processes_within_a_second(path: Path) -> None:
    now = [0.0]
    running, command = OutboxKeyFile(path, clock=lambda: now[0]), OutboxKeyFile(path)
    sealer = AesGcmSealer(running, running.current)
    sealed = sealer.seal(TICKET, "row")

    command.rotate()
    now[0] = 0.9
    assert sealer.is_new(sealed)
    now[0] = 1.0

    assert running() == command()
    assert not sealer.is_new(sealed)
    assert sealer.unseal(sealed, "row").reveal() == TICKET.reveal()
    assert AesGcmSealer(command).is_new(sealer.seal(TICKET, "row"))


def test_a_secret_under_a_newer_key_is_opened_before_the_next_look_at_the_file(path: Path) -> None:
    running, command = OutboxKeyFile(path, clock=lambda: 0.0), OutboxKeyFile(path)
    sealer = AesGcmSealer(running, running.current)
    sealer.seal(TICKET, "row")

    command.rotate()

    assert sealer.unseal(AesGcmSealer(command).seal(TICKET, "row"), "row").reveal() == TICKET.reveal()


def test_the_file_is_read_again_after_a_second(path: Path) -> None:
    now = [0.0]
    keys = OutboxKeyFile(path, clock=lambda: now[0])
    before = keys()
    path.write_bytes(KEY)

    assert keys() is before
    now[0] = 1.0
    assert list(keys()) == [KEY]


def test_concurrent_rotations_leave_a_valid_file(path: Path) -> None:
    keys = [OutboxKeyFile(path) for _ in range(8)]
    keys[0]()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(OutboxKeyFile.rotate, keys))

    assert [len(key) for key in keys[0].current()] == [32, 32]
    assert len({tuple(one.current()) for one in keys}) == 1


@pytest.mark.parametrize("content", [None, b"", b"half a key"])
def test_a_file_lost_at_run_time_has_no_effect_on_running_processes(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    keys = OutboxKeyFile(path, clock=itertools.count().__next__)
    before = list(keys())
    keys.check()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    assert [list(keys()) for _ in range(3)] == [before] * 3
    with pytest.raises((OSError, ValueError)):
        keys.check()
    [reported] = caplog.messages  # once, however often it is called
    assert reported.startswith(f"cannot read {path}, using the keys read before: ")

    path.write_bytes(KEY)
    os.utime(path, ns=(1, 1))
    assert list(keys()) == [KEY]
    keys.check()


def test_a_lost_key_is_not_replaced_silently(path: Path) -> None:
    def refuse() -> None:
        raise ValueError("restore the key")

    with pytest.raises(ValueError, match="restore the key"):
        OutboxKeyFile(path, refuse)()

    assert not path.exists()
    path.parent.mkdir()
    path.write_bytes(KEY)
    assert list(OutboxKeyFile(path, refuse)()) == [KEY]


def test_tickets_of_a_lost_key_fail_with_a_remedy(path: Path) -> None:
    sealed = AesGcmSealer(OutboxKeyFile(path)).seal(TICKET, "row")
    path.unlink()
    sealer = AesGcmSealer(OutboxKeyFile(path))

    with pytest.raises(SealBroken) as raised:
        sealer.unseal(sealed, "row")

    assert str(raised.value) == (
        "it was encrypted with a missing outbox key: restore the key, or create a new secret"
    )
    # Later tickets are delivered.
    assert sealer.unseal(sealer.seal(TICKET, "row"), "row").reveal() == TICKET.reveal()


@pytest.mark.parametrize(
    "text",
    [
        text_of(KEY, FORMER),
        f"{text_of(KEY)} {text_of(FORMER)}",
        f" {text_of(KEY)} ,\n{text_of(FORMER)}\n",
        f"{text_of(KEY)}\n{text_of(FORMER)},",
    ],
)
def test_a_text_may_contain_several_keys_of_which_the_first_encrypts(text: str) -> None:
    assert list(parse_outbox_keys(text)) == [KEY, FORMER]


BAD = [
    "",
    " , ",
    "secret",
    "Geheimnis für alle",
    text_of(KEY[:16]),
    text_of(KEY + FORMER),
    f"{text_of(KEY)},short",
    text_of(KEY)[:-1],
    KEY.hex(),
    f"'{text_of(KEY)}'",
    text_of(KEY).replace("=", "€"),
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_text_without_keys_is_rejected_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must be 32 bytes in base64: openssl rand -base64 32") as raised:
        parse_outbox_keys(text)

    assert not is_in(raised.value, KEY)
    assert "secret" not in str(raised.value)


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_a_command_prints_the_keys() -> None:
    assert list(outbox_keys_of(python(f"print({text_of(KEY, FORMER)!r})"))) == [KEY, FORMER]
    assert list(outbox_keys_of(f"echo {text_of(KEY)}")) == [KEY]


def refused(command: str) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests compare the message
        outbox_keys_of(command)
    assert not is_in(raised.value, KEY)
    assert raised.value.__suppress_context__
    return str(raised.value)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false", "failed: exit status 1"),
        (python(f"print({text_of(KEY)!r}); raise SystemExit(7)"), "failed: exit status 7"),
        (python("import os; os.abort()"), "failed: exit status -6"),
        ("/nowhere/keys", "failed: No such file or directory"),
        ("/", "failed: Permission denied"),
        ("echo 'half", "failed: it cannot be executed"),
        ("", "failed: it cannot be executed"),
        (" \t", "failed: it cannot be executed"),
        ("echo \0", "failed: it cannot be executed"),
        ("true", "must be 32 bytes in base64"),
        (f"echo key: {text_of(KEY)}", "must be 32 bytes in base64"),
        (f"echo {text_of(KEY)[:-4]}", "must be 32 bytes in base64"),
        (
            python(r"import sys; sys.stdout.buffer.write(b'\xff\xfe' * 16)"),
            "failed: its output is not text",
        ),
        # There is no shell: its syntax is plain text.
        (f"echo {text_of(KEY)}; echo $HOME | cat", "must be 32 bytes in base64"),
    ],
)
def test_a_failed_key_command_is_reported_without_its_output(command: str, message: str) -> None:
    assert message in refused(command)


def test_a_hanging_key_command_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_keys, "_COMMAND_SECONDS", 0.2)
    began = time.monotonic()

    reported = refused(python(f"import time; print({text_of(KEY)!r}, flush=True); time.sleep(120)"))

    assert reported == "the command for the outbox key failed: no end within 0.2 seconds"
    assert time.monotonic() - began < 60


def test_a_key_command_gets_no_input_and_its_errors_are_passed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = f"import sys; print('the vault is shut', file=sys.stderr); print({text_of(KEY)!r})"

    keys: Sequence[bytes] = outbox_keys_of(python(code))

    out, err = capfd.readouterr()
    assert list(keys) == [KEY]
    assert (out, err) == ("", "the vault is shut\n")
