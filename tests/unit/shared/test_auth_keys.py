"""API keys and wrapped secrets."""

from __future__ import annotations

import hashlib

import pytest

from shared.auth import SecretError, api_key_id, derive, is_api_key, new_api_key, unwrap, wrap

MASTER = bytes(range(32))


def test_an_api_key_is_its_prefix_and_32_random_bytes() -> None:
    key, credential_id = new_api_key(lambda size: b"\xfb\xff" * (size // 2))
    assert key.startswith("dwk_")
    assert len(key) == 4 + 43
    assert set(key[4:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert credential_id == hashlib.sha256(key.encode()).hexdigest() == api_key_id(key)
    assert is_api_key(key)


def test_two_api_keys_differ() -> None:
    assert len({new_api_key()[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dwk_",
        "dwk_" + "a" * 42,
        "dwk_" + "a" * 44,
        "dwk_" + "a" * 42 + "=",
        "DWK_" + "a" * 43,
        "dwk_" + "a" * 43 + "\n",
    ],
)
def test_what_is_no_api_key_is_told_by_its_form(text: str) -> None:
    assert not is_api_key(text)


def test_derived_keys_depend_on_master_and_purpose_alone() -> None:
    assert derive(MASTER, "cursor") == derive(MASTER, "cursor")
    assert len({derive(MASTER, "cursor"), derive(MASTER, "mail"), derive(b"x" * 32, "cursor"), MASTER}) == 4
    assert len(derive(MASTER, "cursor")) == 32


def test_a_wrapped_secret_opens_with_the_same_master_and_purpose() -> None:
    assert unwrap(MASTER, wrap(MASTER, b"private", "signing"), "signing") == b"private"


def test_wrapping_twice_gives_different_bytes() -> None:
    assert wrap(MASTER, b"private") != wrap(MASTER, b"private")


@pytest.mark.parametrize("harm", range(12 + len(b"private") + 16))
def test_a_wrapped_secret_that_was_changed_anywhere_does_not_open(harm: int) -> None:
    wrapped = bytearray(wrap(MASTER, b"private"))
    wrapped[harm] ^= 1
    with pytest.raises(SecretError):
        unwrap(MASTER, bytes(wrapped))


@pytest.mark.parametrize(("master", "purpose"), [(b"x" * 32, "wrap"), (MASTER, "other")])
def test_a_wrapped_secret_does_not_open_otherwise(master: bytes, purpose: str) -> None:
    with pytest.raises(SecretError):
        unwrap(master, wrap(MASTER, b"private"), purpose)


@pytest.mark.parametrize("wrapped", [b"", b"short", b"x" * 12])
def test_what_is_too_short_does_not_open(wrapped: bytes) -> None:
    with pytest.raises(SecretError):
        unwrap(MASTER, wrapped)
