"""A real Postfix on loopback, with a separate directory: Debian's package postfix, and root to start it."""

import base64
import contextlib
import email
import email.policy
import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.certificates import self_signed
from tests.support.server import until

# Debian installs it outside of an ordinary user's PATH.
PROGRAM = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_postfix = pytest.mark.skipif(
    PROGRAM is None or os.geteuid() != 0,
    reason="no postfix: apt-get install postfix" if PROGRAM is None else "only root can start postfix",
)

LOGIN = ("tickets", "p@ss/word")
MAILBOX, BUSY = "una@bank.example", "busy@bank.example"
LARGEST_MAIL_BYTES = 50_000
_UNPRIVILEGED = 65534

# Permissions to send are configured here, and nothing is resolved outside of this machine.
_MAIN = f"""\
compatibility_level = 3.6
mynetworks =
myhostname = mail.bank.example
mydestination =
inet_protocols = ipv4
queue_directory = {{directory}}/queue
data_directory = {{directory}}/data
maillog_file = {{directory}}/log
maillog_file_prefixes = {{directory}}
message_size_limit = {LARGEST_MAIL_BYTES}
mailbox_size_limit = 0
default_transport = error:nothing leaves this machine
alias_maps =
alias_database =
smtpd_tls_chain_files = {{directory}}/certificate.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{{auth_port}}
smtpd_client_restrictions =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
    check_recipient_access inline:{{{{ {{{{ {BUSY} = 450 4.2.1 busy }}}} }}}}, permit_sasl_authenticated, reject
virtual_mailbox_domains = bank.example
virtual_mailbox_base = {{directory}}/boxes
virtual_mailbox_maps = inline:{{{{ {{{{ {MAILBOX} = una/ }}}}, {{{{ {BUSY} = busy/ }}}} }}}}
virtual_minimum_uid = 1
virtual_uid_maps = static:{_UNPRIVILEGED}
virtual_gid_maps = static:{_UNPRIVILEGED}
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    """A Postfix that a test can stop and start again. certificate: the CA certificate."""

    directory: Path
    port: int
    certificate: Path

    @property
    def url(self) -> str:
        """The URL for sending mails."""
        return f"smtp://tickets:p%40ss%2Fword@localhost:{self.port}"

    def start(self) -> None:
        """Start it with its queue."""
        self._run_postfix("start")
        until(self._answers, "postfix answers")

    def stop(self) -> None:
        """Stop it, and wait until it has stopped."""
        self._run_postfix("stop")

    def _run_postfix(self, word: str) -> None:
        reported = subprocess.run(
            [PROGRAM or "", "-c", str(self.directory / "etc"), word],
            capture_output=True,
            text=True,
            check=False,
        )
        assert reported.returncode == 0, reported.stderr

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def has(self, count: int) -> list[EmailMessage]:
        """Wait until there are this many mails in the mailbox, and return them."""
        new = self.directory / "boxes" / "una" / "new"
        until(lambda: len(list(new.glob("*"))) >= count, f"{count} mails are in the box")
        return [_message(path.read_bytes()) for path in sorted(new.iterdir())]


def _message(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@contextlib.contextmanager
def postfix_server() -> Iterator[Postfix]:
    """Yield a running Postfix; it is stopped at the end."""
    # Not below pytest's directory, which its user cannot read.
    directory = Path(tempfile.mkdtemp(prefix="tickets-postfix-"))
    directory.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        auth_port, reserved = stack.enter_context(_logins()), stack.enter_context(socket.socket())
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        server = Postfix(directory, reserved.getsockname()[1], self_signed(directory / "certificate.pem"))
        for name in ("etc", "queue", "data", "boxes"):
            (directory / name).mkdir(mode=0o755)
        shutil.chown(directory / "data", "postfix")
        shutil.chown(directory / "boxes", _UNPRIVILEGED, _UNPRIVILEGED)
        terms = {"directory": directory, "port": server.port, "auth_port": auth_port}
        (directory / "etc" / "main.cf").write_text(_MAIN.format(**terms))
        (directory / "etc" / "master.cf").write_text(_MASTER.format(**terms))
        try:
            server.start()
            yield server
        finally:
            server.stop()


class _Login(socketserver.StreamRequestHandler):
    """Authenticates for Postfix by Dovecot's authentication protocol, version 1.1."""

    def handle(self) -> None:
        greeting = [
            "VERSION\t1\t1",
            "MECH\tPLAIN\tplaintext",
            "SPID\t1",
            "CUID\t1",
            f"COOKIE\t{'0' * 32}",
            "DONE",
        ]
        self._reply(*greeting)
        for line in self.rfile:
            word, *fields = line.decode().rstrip("\n").split("\t")
            if word == "AUTH":
                [given] = [field.removeprefix("resp=") for field in fields if field.startswith("resp=")]
                good = base64.b64decode(given).decode().split("\0")[1:] == list(LOGIN)
                self._reply(f"{'OK' if good else 'FAIL'}\t{fields[0]}\tuser={LOGIN[0]}")

    def _reply(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\n" for line in lines).encode())


class _Logins(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def _logins() -> Iterator[int]:
    with _Logins(("127.0.0.1", 0), _Login) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
