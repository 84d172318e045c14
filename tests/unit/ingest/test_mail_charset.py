"""Bytes to text: what is declared, else what they look like, and always an answer."""

from __future__ import annotations

import pytest

from services.ingest.mail import charset

GREEK = "Η εφαρμογή δεν ξεκινά από το πρωί και ο πελάτης περιμένει απάντηση."
RUSSIAN = "Не работает вход в систему, показывает ошибку сервера, помогите пожалуйста."
JAPANESE = "決済端末がオフラインになる"


@pytest.mark.parametrize(
    ("data", "declared", "text"),
    [
        ("grüß".encode(), "utf-8", "grüß"),
        ("grüß".encode(), None, "grüß"),
        ("grüß".encode("cp1252"), "ISO-8859-1", "grüß"),
        ("„a“ €".encode("cp1252"), "us-ascii", "„a“ €"),
        (JAPANESE.encode("iso2022_jp"), "iso-2022-jp", JAPANESE),
        (JAPANESE.encode("iso2022_jp"), None, JAPANESE),
        (JAPANESE.encode("iso2022_jp"), "utf-8", JAPANESE),
        (JAPANESE.encode("cp932"), '"Shift_JIS"', JAPANESE),
        ("汉字".encode("gb18030"), "gb2312", "汉字"),
        (GREEK.encode("cp1253"), "windows-1253", GREEK),
        (b"\xef\xbb\xbfx", "utf-16", "x"),
        ("xä".encode("utf-16"), "utf-8", "xä"),
        ("xä".encode("utf-16-be"), "utf-16-be", "xä"),
    ],
)
def test_what_is_declared_or_evident_is_read(data: bytes, declared: str | None, text: str) -> None:
    assert charset.decode(data, declared) == text


@pytest.mark.parametrize("declared", ["bogus", "unicode_escape", "idna", "base64", "", "x" * 65, "utf-8\x00"])
def test_a_charset_that_is_none_is_no_charset(declared: str) -> None:
    assert charset.codec(declared) is None
    assert charset.decode("grüß".encode(), declared) == "grüß"


@pytest.mark.parametrize("declared", ["us-ascii", "euc-kr", "big5", None])
def test_a_wrong_declaration_is_seen_through_where_the_bytes_say_what_they_are(declared: str | None) -> None:
    assert charset.decode(GREEK.encode(), declared) == GREEK
    assert charset.decode(RUSSIAN.encode("cp1251") * 3, "utf-8") == RUSSIAN * 3


def test_damaged_utf_8_loses_the_damaged_characters_only() -> None:
    damaged = (GREEK * 2).encode()[:-1] + b"\xce"
    read = charset.decode(damaged, "utf-8")
    assert read.startswith(GREEK)
    assert "\ufffd" in read


def test_stray_bytes_of_windows_latin_are_replaced_and_the_rest_is_read() -> None:
    assert charset.decode(b"\x81caf\xe9", "latin1") == "\ufffdcafé"
    assert charset.decode(b"\xe9", None) == "é"


def test_too_short_to_be_told_is_read_as_what_was_declared() -> None:
    assert charset.decode(b"\xb0", "euc-kr") == "\ufffd"
    assert charset.decode(b"\xe4\xff\x00", "utf-16-le").strip("\ufffd") != "\x00"


def test_nothing_that_a_database_refuses_is_left() -> None:
    assert charset.clean("a\x00b\x1b[31m\ud800") == "ab[31m?"
    assert charset.clean("a\r\nb\rc\u2028d\x85e\tf") == "a\nb\nc\nd\ne\tf"
    assert charset.one_line(" a\n\t b\x00 ", 3) == "a b"


def test_every_alias_leads_to_a_codec() -> None:
    assert [name for name in charset._ALIASES if charset.codec(name) is None] == []
