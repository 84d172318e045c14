"""A real IMAP server (pymap, in memory) as a process, and a client of our own to put mails into it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imapclient import IMAPClient

USER, PASSWORD = "support@acme.example", "s3cret"


@dataclass(frozen=True)
class ImapServer:
    """Where it listens."""

    port: int

    @contextmanager
    def client(self, folder: str = "INBOX") -> Iterator[IMAPClient]:
        """Logged in, the folder made and selected."""
        with IMAPClient("127.0.0.1", self.port, ssl=False, timeout=20) as client:
            client.login(USER, PASSWORD)
            if not client.folder_exists(folder):
                client.create_folder(folder)
            client.select_folder(folder)
            yield client

    def put(self, *mails: bytes, folder: str = "INBOX", at: datetime | None = None) -> None:
        """Deliver mails, received at that instant."""
        with self.client(folder) as client:
            for raw in mails:
                client.append(folder, raw, msg_time=at or datetime.now(UTC))

    def flags(self, folder: str = "INBOX") -> dict[int, tuple[bytes, ...]]:
        """The flags of every mail."""
        with self.client(folder) as client:
            uids = client.search(["ALL"])
            return dict(client.get_flags(uids)) if uids else {}

    def number_anew(self, folder: str) -> None:
        """Make the folder another one with the same mails: a new UIDVALIDITY, other numbers."""
        with self.client("Elsewhere") as client:
            client.select_folder(folder)
            uids = client.search(["ALL"])
            client.copy(uids, "Elsewhere")
            client.close_folder()
            client.delete_folder(folder)
            client.create_folder(folder)
            client.select_folder("Elsewhere")
            client.copy(client.search(["ALL"]), folder)


@contextmanager
def imap_server(*, cert: Path | None = None, key: Path | None = None) -> Iterator[ImapServer]:
    """A server of one's own; with a certificate it offers STARTTLS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tls = ["--no-tls"] if cert is None else ["--cert", str(cert), "--key", str(key)]
    command = [str(Path(sys.executable).with_name("pymap")), "--host", "127.0.0.1", "--port", str(port), *tls]
    command += ["--no-service", "admin", "--no-service", "managesieve"]
    command += ["dict", "--demo-user", USER, "--demo-password", PASSWORD]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    told = process.stderr.read().decode() if process.stderr else ""
                    raise AssertionError(f"pymap did not start: {told}") from None
                time.sleep(0.05)
        yield ImapServer(port)
    finally:
        process.terminate()
        process.communicate(timeout=10)
