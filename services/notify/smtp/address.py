"""`smtp_url` read: where the mail server is and how to talk to it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shared.settings import SettingsError

_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One mail server."""

    host: str
    port: int
    tls: bool
    """From the first byte."""
    starttls: bool
    username: str | None
    password: str | None


def read(url: str) -> Server | None:
    """The server a setting names; None for an empty one. Raises SettingsError, which quotes no secret."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused() from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise _refused()
    return Server(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "smtps",
        starttls=parts.scheme == "smtp+starttls",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _refused() -> SettingsError:
    return SettingsError("NOTIFY_SMTP_URL: smtp://, smtps:// or smtp+starttls://[user:password@]host[:port] is needed")
