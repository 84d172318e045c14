"""Headers as they are really sent: everything is read, nothing raises (B1, B5)."""

from __future__ import annotations

import pytest

from services.ingest.mail import addresses
from services.ingest.mail.addresses import Mailbox
from services.ingest.mail.headers import decode_base64, decode_words, parameterised
from services.ingest.mail.parse import UNKNOWN_SENDER, parse


def headers(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\nHello.\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        ("=?iso-8859-1?Q?Gr=FC=DFe_an_alle?=", "Grüße an alle"),
        ("=?UTF-8?Q?a?= =?UTF-8?Q?b?=", "ab"),
        ("=?UTF-8?Q?a?= and =?UTF-8?Q?b?=", "a and b"),
        ("=?utf-8?B?w6Q=?=\t=?utf-8?B?w7Y=?=", "äö"),
        ("=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "ä"),
        ("=?iso-2022-jp?B?GyRCJDMkcxsoQg==?=", "こん"),
        ("=?gb2312?B?xOO6ww==?=", "你好"),
        ("=?ks_c_5601-1987?B?vsiz5w==?=", "안녕"),
        ("=?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=", "Привет"),
        ("=?us-ascii*en?Q?Keith_Moore?=", "Keith Moore"),
        ("=?x-unknown?Q?caf=E9?=", "café"),
        ("=?bogus-charset?B?aGVsbG8=?=", "hello"),
        ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        ("=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"),
        ("=?zip?B?aGVsbG8=?=", "hello"),
        ("=?utf-7?Q?+AOQ-?=", "ä"),
    ],
)
def test_encoded_words_are_read(raw: str, expected: str) -> None:
    assert decode_words(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("ann@x.example", [("ann@x.example", "")]),
        ("Ann <ann@x.example>", [("ann@x.example", "Ann")]),
        ('"Example, Ann" <ann@x.example>, bob@y.example', [("ann@x.example", "Example, Ann"), ("bob@y.example", "")]),
        ("ann@x.example (Ann Example)", [("ann@x.example", "Ann Example")]),
        ("=?utf-8?Q?M=C3=BCller=2C_Ann?= <ann@x.example>", [("ann@x.example", "Müller, Ann")]),
        ("=?utf-8?Q?Doe, Jane?= <j@x.example>", [("j@x.example", "Doe, Jane")]),
        ("Team: a@x.example, b@x.example;", [("a@x.example", ""), ("b@x.example", "")]),
        ("undisclosed-recipients:;", []),
        ("(c):", []),
        ("<@relay.example:ann@x.example>", [("ann@x.example", "")]),
        ("Ann ann@x.example", [("ann@x.example", "Ann")]),
        ("<ann@x.example", [("ann@x.example", "")]),
        ("'ann@x.example'", [("ann@x.example", "")]),
        ("mailto:ann@x.example", [("ann@x.example", "")]),
        ('"Ann" "B" <ann@x.example>', [("ann@x.example", "Ann B")]),
        ('"john doe"@x.example', [('"john doe"@x.example', "")]),
        ("a@x.example; b@x.example", [("a@x.example", ""), ("b@x.example", "")]),
        ("Ann <ann @x.example>", [("ann@x.example", "Ann")]),
        ("Ann <>", []),
        ("", []),
        (',,,;;;<>()"', []),
        ("a@x.example, a@x.example", [("a@x.example", ""), ("a@x.example", "")]),
        ("Ann\x00 <ann\x00@x.example>", [("ann@x.example", "Ann")]),
        ("Ann\r\n Bcc: evil <ann@x.example>", [("ann@x.example", "evil")]),
    ],
)
def test_addresses_are_read(raw: str, expected: list[tuple[str, str]]) -> None:
    assert [(one.address, one.name) for one in addresses.parse(raw)] == expected


@pytest.mark.parametrize(
    ("raw", "value", "parameters"),
    [
        ("text/plain; charset=utf-8", "text/plain", {"charset": "utf-8"}),
        ('TEXT/HTML; Charset="ISO-8859-1"', "text/html", {"charset": "ISO-8859-1"}),
        ("text/plain; name*", "text/plain", {"name": ""}),
        ("x; name*=utf-8''%e2%82%ac.txt", "x", {"name": "€.txt"}),
        ("x; name*0*=utf-8''%e2%82; name*1*=%ac.txt", "x", {"name": "€.txt"}),
        ("x; name*1=b; name*0=a", "x", {"name": "ab"}),
        ("x; filename==?utf-8?B?w6Q=?=.txt", "x", {"filename": "ä.txt"}),
        ('x; filename="=?utf-8?Q?=C3=A4?=.txt"', "x", {"filename": "ä.txt"}),
        ("x; filename=a b c.txt", "x", {"filename": "a b c.txt"}),
        ('x; filename="a\\"b.txt"', "x", {"filename": 'a"b.txt'}),
        ('x; filename="open', "x", {"filename": "open"}),
        ("x;;; =; ;a", "x", {"a": ""}),
        ("x; a=1; a=2", "x", {"a": "1"}),
        ("x; name*99999999999=z", "x", None),
        ("x; name*=unknown-charset'en'%41", "x", {"name": "A"}),
        ("", "", {}),
    ],
)
def test_parameters_are_read(raw: str, value: str, parameters: dict[str, str] | None) -> None:
    found = parameterised(raw)
    assert found.value == value
    if parameters is not None:
        assert found.parameters == parameters


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"aGVs!bG8=", b"hello"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"aGVsbG8hX", b"hello!"),
        (b"", b""),
        (b"=", b""),
    ],
)
def test_base64_is_read_as_found(raw: bytes, expected: bytes) -> None:
    assert decode_base64(raw) == expected


def test_the_three_headers_on_which_the_standard_library_raises_are_read() -> None:
    read = parse(headers(b"Content-Type: text/plain; name*", b"To: (c):", b"Message-ID: <[x@y]>", b"From: a@x.example"))
    assert read.quarantine is None
    assert read.message_id == "[x@y]"
    assert read.recipients == ()
    assert read.text == "Hello."


def test_line_ends_and_nuls_leave_subject_and_name() -> None:
    subject = b"Subject: =?utf-8?Q?one=0D=0ABcc:_two=00?="
    read = parse(headers(subject, b"From: =?utf-8?Q?A=0Ab=00?= <a@x.example>"))
    assert read.subject == "one Bcc: two"
    assert read.sender == Mailbox("a@x.example", "A b")


def test_raw_eight_bit_headers_are_read() -> None:
    assert parse(headers("Subject: Grüße".encode(), b"From: a@x.example")).subject == "Grüße"
    assert parse(headers("Subject: Grüße".encode("latin-1"), b"From: a@x.example")).subject == "Grüße"


def test_folded_subjects_are_one_line() -> None:
    assert parse(headers(b"From: a@x.example", b"Subject: one", b" two", b"\tthree")).subject == "one two three"


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ((b"From: a@x.example", b"From: b@x.example"), "a@x.example"),
        ((b"From: ", b"Sender: s@x.example"), "s@x.example"),
        ((b"Reply-To: r@x.example",), "r@x.example"),
        ((b"Return-Path: <p@x.example>",), "p@x.example"),
        ((b"From: root",), "root"),
        ((b"Subject: x",), UNKNOWN_SENDER),
    ],
)
def test_somebody_is_always_the_sender(lines: tuple[bytes, ...], address: str) -> None:
    assert parse(headers(*lines)).sender.address == address


@pytest.mark.parametrize(
    "start",
    [b"From ann Sat Nov 21 10:00:00 2026\r\n", b">From ann Sat\r\n", b"\r\n", b"\r\n\r\n", b"\xef\xbb\xbf"],
    ids=["mbox", "quoted mbox", "blank line", "blank lines", "byte order mark"],
)
def test_what_gateways_put_before_the_headers_does_not_hide_them(start: bytes) -> None:
    read = parse(start + headers(b"From: a@x.example", b"Subject: found"))
    assert (read.subject, read.sender.address) == ("found", "a@x.example")


def test_a_line_that_is_no_header_begins_the_body() -> None:
    read = parse(b"From: a@x.example\r\nSubject: s\r\nthis is no header\r\nX: y\r\n\r\nrest\r\n")
    assert read.subject == "s"
    assert "this is no header" in read.text
    assert "rest" in read.text


def test_line_ends_of_every_kind_are_read() -> None:
    for end in (b"\r\n", b"\n"):
        assert parse(headers(b"From: a@x.example", b"Subject: s").replace(b"\r\n", end)).subject == "s"
