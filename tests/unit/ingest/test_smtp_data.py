"""DATA ends where RFC 5321 says, in whatever pieces it arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.channels.smtp_data import Data


def read(wire: bytes, sizes: list[int]) -> tuple[bytes, bytes | None]:
    data, out, position = Data(), b"", 0
    for size in [*sizes, len(wire)]:
        if data.rest is not None:
            break
        out += data.feed(wire[position : position + size])
        position += size
    return out, None if data.rest is None else data.rest + wire[position:]


@pytest.mark.parametrize(
    ("wire", "content", "rest"),
    [
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b".\r\n", b"", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"..a\r\n...\r\n.\r\nQUIT\r\n", b".a\r\n..\r\n", b"QUIT\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", b""),
        (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n", b""),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n", b""),
        (b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n", b""),
        (b"no end\r\n.", b"no end", None),
    ],
)
def test_dots_and_ends(wire: bytes, content: bytes, rest: bytes | None) -> None:
    assert read(wire, []) == (content, rest)


@given(
    st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"..", b"\r\n."]), max_size=30).map(b"".join),
    st.lists(st.integers(1, 4), max_size=40),
)
def test_any_mail_comes_through_in_any_pieces(mail: bytes, sizes: list[int]) -> None:
    stuffed = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:]
    content, rest = read(stuffed + b"\r\n.\r\nNOOP\r\n", sizes)
    assert (content, rest) == (mail + b"\r\n", b"NOOP\r\n")


def test_a_line_of_megabytes_is_not_collected() -> None:
    data = Data()
    for _ in range(1_000):
        assert len(data.feed(b"x" * 65_536)) >= 65_536 - 4
