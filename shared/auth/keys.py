"""Secrets: API keys, keys derived from the master key, private keys wrapped by it.

An API key is 256 random bits, so its plain SHA-256 may be published on a topic: there is nothing to guess.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

API_KEY_PREFIX = "dwk_"
_API_KEY = re.compile(r"dwk_[A-Za-z0-9_-]{43}")
_NONCE = 12

RandomBytes = Callable[[int], bytes]
"""`n` unguessable bytes; `secrets.token_bytes` outside tests."""


class SecretError(Exception):
    """A wrapped secret does not open: another master key, another purpose, or it was changed."""


def new_api_key(random: RandomBytes = secrets.token_bytes) -> tuple[str, str]:
    """A new API key and its credential id. The key is shown to its owner once and stored nowhere."""
    key = API_KEY_PREFIX + base64.urlsafe_b64encode(random(32)).rstrip(b"=").decode()
    return key, api_key_id(key)


def api_key_id(key: str) -> str:
    """The credential id of an API key: the SHA-256 of the whole string, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_api_key(text: str) -> bool:
    """Whether `text` has the form of an API key."""
    return _API_KEY.fullmatch(text) is not None


def derive(master: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF-SHA256, RFC 5869); it tells nothing of the master or its siblings."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"deskwire/" + purpose.encode()).derive(master)


def wrap(master: bytes, private: bytes, purpose: str = "wrap", random: RandomBytes = secrets.token_bytes) -> bytes:
    """`private` encrypted for storage (AES-256-GCM); `purpose` must be given again to open it."""
    nonce = random(_NONCE)
    return nonce + AESGCM(derive(master, purpose)).encrypt(nonce, private, purpose.encode())


def unwrap(master: bytes, wrapped: bytes, purpose: str = "wrap") -> bytes:
    """What `wrap` was given. Raises SecretError when it does not open."""
    try:
        return AESGCM(derive(master, purpose)).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], purpose.encode())
    except (InvalidTag, ValueError) as error:
        msg = "the stored secret does not open with this master key"
        raise SecretError(msg) from error
