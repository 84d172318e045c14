"""Signatures, against the standard's own vector and a receiver written from the standard."""

from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.webhook_signing import PREFIX, SECRET_BYTES, headers, key_of, new_secret, signature

VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_TIME = 1614265330
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""standard-webhooks b2fa7b87, libraries/*/webhook tests (MIT)."""


def accepts(secret: str, sent: dict[str, str], body: bytes) -> bool:
    """A receiver as the standard describes it: any of the signatures it understands may be the right one."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()
    for one in sent["webhook-signature"].split(" "):
        version, _, value = one.partition(",")
        if version == "v1" and hmac.compare_digest(value, wanted):
            return True
    return False


def test_the_standards_vector_is_reproduced_byte_for_byte() -> None:
    assert signature(key_of(VECTOR_SECRET), VECTOR_ID, VECTOR_TIME, VECTOR_BODY) == VECTOR_SIGNATURE


def test_a_secret_without_its_prefix_is_the_same_key() -> None:
    assert key_of(VECTOR_SECRET) == key_of(VECTOR_SECRET.removeprefix(PREFIX))


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=2**40), st.uuids())
def test_a_receiver_accepts_what_was_sent_and_nothing_that_was_changed(body: bytes, at: int, identity: object) -> None:
    secret = new_secret(lambda count: b"k" * count)
    sent = headers([key_of(secret)], str(identity), at, body)
    assert accepts(secret, sent, body)
    assert not accepts(secret, sent, body + b" ")
    assert not accepts(secret, {**sent, "webhook-timestamp": str(at + 1)}, body)
    assert not accepts(secret, {**sent, "webhook-id": "another"}, body)
    assert not accepts(new_secret(lambda count: b"x" * count), sent, body)


def test_while_a_secret_is_rotated_receivers_with_the_old_and_with_the_new_one_accept() -> None:
    old, new = new_secret(lambda count: b"o" * count), new_secret(lambda count: b"n" * count)
    sent = headers([key_of(new), key_of(old)], VECTOR_ID, VECTOR_TIME, VECTOR_BODY)
    assert accepts(old, sent, VECTOR_BODY)
    assert accepts(new, sent, VECTOR_BODY)
    assert len(sent["webhook-signature"].split(" ")) == 2


def test_a_secret_has_256_random_bits() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    assert len(key_of(new_secret(random))) == SECRET_BYTES == 32
    assert asked == [32]


def test_what_is_no_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="secret"):
        key_of("whsec_%%%")
