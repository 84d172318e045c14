"""Endpoints' secrets: wrapped where they are kept, opened only where something is signed."""

from __future__ import annotations

import secrets

from services.notify.domain import webhook_signing as signing
from services.notify.store.webhook_endpoints import Secrets
from shared.auth import unwrap, wrap

PURPOSE = "webhook-secret"
"""What the master key's child for these secrets is derived for."""


class SecretBox:
    """Makes, wraps and opens secrets."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    def new(self) -> tuple[str, bytes]:
        """A secret, to be shown once, and what is kept of it."""
        secret = signing.new_secret(secrets.token_bytes)
        return secret, wrap(self._master, secret.encode(), PURPOSE)

    def keys(self, kept: Secrets) -> list[bytes]:
        """The keys that sign now, the newest first. Raises SecretError with another master key."""
        return [
            signing.key_of(unwrap(self._master, one, PURPOSE).decode())
            for one in (kept.current, kept.former)
            if one is not None
        ]
