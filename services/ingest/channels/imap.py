"""One conversation with an IMAP server (RFC 3501), blocking: run it in a thread.

Never changes a flag by reading (BODY.PEEK), verifies certificates, and has an end to every wait. Whatever goes wrong is
a `MailboxError` that a person can act upon.
"""

from __future__ import annotations

import contextlib
import imaplib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.egress.rules import Network, Rules, is_public

if TYPE_CHECKING:
    from imapclient import IMAPClient

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
HEADER_BYTES = 100_000
"""Of a mail too large to be fetched."""


class MailboxError(Exception):
    """A mailbox cannot be read. `problem` is one word: address, dns, connect, tls, auth, folder, timeout, protocol."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a mailbox is and how to open it."""

    host: str
    port: int
    tls: str
    """`tls` from the first byte, `starttls`, or `none`, which only a network named in the settings may have."""
    username: str
    password: str
    folder: str
    writable: bool
    """Whether mails are marked or moved after they are stored."""
    ca_file: str = ""
    allowed_networks: tuple[Network, ...] = ()
    """Networks that are not public and may be connected to all the same."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it was when it was selected."""

    uidvalidity: int
    uidnext: int | None
    exists: int


@dataclass(frozen=True, slots=True)
class Item:
    """One mail that is there: its number, its size in bytes, and when the server received it."""

    uid: int
    size: int
    received_at: datetime


class Connection:
    """An open, selected folder."""

    def __init__(self, client: IMAPClient, folder: Folder) -> None:
        self.folder = folder
        self._client = client

    @classmethod
    def open(cls, account: Account) -> Connection:
        """Connect, log in, select. Raises MailboxError."""
        # A megabyte and 30 ms that an ingest without mailboxes need not pay.
        from imapclient import IMAPClient, SocketTimeout  # noqa: PLC0415
        from imapclient.exceptions import LoginError  # noqa: PLC0415

        _vet(account)
        with _explained("connect"):
            client = IMAPClient(
                account.host,
                account.port,
                ssl=account.tls == "tls",
                ssl_context=_context(account) if account.tls == "tls" else None,
                timeout=SocketTimeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
        try:
            client.normalise_times = False
            with _explained("tls"):
                if account.tls == "starttls":
                    client.starttls(_context(account))
            with _explained("auth"):
                try:
                    client.login(account.username, account.password)
                except LoginError as error:
                    raise MailboxError("auth", _told(error)) from error
            with _explained("folder"):
                told = client.select_folder(account.folder, readonly=not account.writable)
            return cls(client, _folder(told))
        except BaseException:
            _drop(client)
            raise

    def last_uid(self) -> int:
        """The highest number there is; 0 in an empty folder."""
        if self.folder.uidnext is not None:
            return self.folder.uidnext - 1
        with _explained("protocol"):
            return max(self._client.search(["UID", "1:*"]), default=0)

    def after(self, uid: int) -> list[int]:
        """The numbers above `uid`, rising."""
        with _explained("protocol"):
            # `n:*` always names the last mail, also when its number is below n.
            return sorted(one for one in self._client.search(["UID", f"{uid + 1}:*"]) if one > uid)

    def look(self, uids: Sequence[int]) -> list[Item]:
        """Size and receipt of mails, in the order of their numbers; what is gone meanwhile is left out."""
        with _explained("protocol"):
            told = self._client.fetch(list(uids), ["RFC822.SIZE", "INTERNALDATE"])
            return [
                Item(uid, one[b"RFC822.SIZE"], _instant(one[b"INTERNALDATE"]))
                for uid, one in sorted(told.items())
                if b"RFC822.SIZE" in one and b"INTERNALDATE" in one
            ]

    def fetch(self, uid: int, *, head_only: bool) -> bytes | None:
        """A mail, or its first 100 kB of headers; None when it is gone."""
        part = f"BODY.PEEK[HEADER]<0.{HEADER_BYTES}>" if head_only else "BODY.PEEK[]"
        with _explained("protocol"):
            told = self._client.fetch([uid], [part]).get(uid, {})
        return next((value for key, value in told.items() if key.startswith(b"BODY[")), None)

    def mark(self, uids: Sequence[int], move_to: str | None) -> None:
        """Mark mails as seen, or move them to another folder."""
        with _explained("protocol"):
            if move_to is None:
                self._client.add_flags(list(uids), [b"\\Seen"], silent=True)
            elif self._client.has_capability("MOVE"):
                self._client.move(list(uids), move_to)
            else:
                self._client.copy(list(uids), move_to)
                self._client.delete_messages(list(uids), silent=True)
                if self._client.has_capability("UIDPLUS"):
                    self._client.uid_expunge(list(uids))

    def close(self) -> None:
        """Say good-bye, or simply hang up. Never raises."""
        try:
            self._client.logout()
        except Exception:  # noqa: BLE001 - it ends either way
            _drop(self._client)

    def cut(self) -> None:
        """Hang up at once, from another thread: whatever waits there ends."""
        _drop(self._client)


def _folder(told: dict[bytes, Any]) -> Folder:
    if b"UIDVALIDITY" not in told:
        raise MailboxError("protocol", "the server keeps no lasting numbers (UIDVALIDITY)")
    return Folder(told[b"UIDVALIDITY"], told.get(b"UIDNEXT"), told.get(b"EXISTS", 0))


def _vet(account: Account) -> None:
    """Raise unless every address of the host may be connected to."""
    try:
        found = socket.getaddrinfo(account.host, account.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise MailboxError("dns", _told(error)) from error
    rules = Rules(opened=account.allowed_networks)
    for entry in found:
        address = ipaddress.ip_address(str(entry[4][0]).partition("%")[0])
        own = rules.opens(address)
        if not own and not is_public(address):
            raise MailboxError("address", "not a public address; name its network in INGEST_IMAP_ALLOWED_NETWORKS")
        if not own and account.tls == "none":
            raise MailboxError("tls", "without encryption only networks of INGEST_IMAP_ALLOWED_NETWORKS are read")


def _context(account: Account) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=account.ca_file or None)


@contextlib.contextmanager
def _explained(step: str) -> Iterator[None]:
    """What a library raises as a MailboxError; `step` is the problem where the error itself does not tell."""
    try:
        yield
    except MailboxError:
        raise
    except ssl.SSLError as error:
        raise MailboxError("tls", _told(error)) from error
    except TimeoutError as error:
        raise MailboxError("timeout", "no answer in time") from error
    except imaplib.IMAP4.abort as error:
        raise MailboxError("connect", _told(error)) from error
    except imaplib.IMAP4.error as error:
        raise MailboxError(step, _told(error)) from error
    except OSError as error:
        raise MailboxError("connect", _told(error)) from error
    except Exception as error:  # whatever a server's nonsense makes of the library
        raise MailboxError("protocol", type(error).__name__) from error


def _told(error: BaseException) -> str:
    return str(error).replace("\n", " ")[:200] or type(error).__name__


def _instant(value: datetime) -> datetime:
    return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _drop(client: IMAPClient) -> None:
    hang_up: Callable[[], None] = client.shutdown
    with contextlib.suppress(Exception):
        hang_up()
