"""Secrets and signatures as Standard Webhooks 1.0.0 has them.

The signature is over `<webhook-id>.<webhook-timestamp>.<body>`; while a secret is being rotated there is one per
secret, and a receiver is content with any.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from datetime import timedelta

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The standard asks for 24 to 64."""
FORMER_VALID = timedelta(hours=24)
"""How long a rotated secret still signs beside the new one."""
USER_AGENT = "Deskwire-Webhooks/1.0"

RandomBytes = Callable[[int], bytes]


def new_secret(random: RandomBytes) -> str:
    """A secret as its owner keeps it: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(random(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key inside a secret. Raises ValueError for what is no secret."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("not a webhook secret") from error


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 in base64; `timestamp` in seconds since 1970, of this attempt."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def headers(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What is sent with a body: the same id at every attempt, the time of this one, a signature per valid secret."""
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, webhook_id, timestamp, body) for key in keys),
    }
