"""Whatever bytes come, the parser answers, soon, and loses nothing (B1, B2)."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.mail.limits import DEFAULT, Limits
from services.ingest.mail.parse import Options, ParsedMail, parse, salvage
from services.ingest.parsing import is_suspicious
from tests.support.dose import examples

HEAD = b"From: Ann <ann@x.example>\r\nSubject: bounds INC-2026-000007\r\nMessage-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\n"


def nested(depth: int) -> bytes:
    out = HEAD
    for level in range(depth):
        out += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level)
    return out + b"Content-Type: text/plain\r\n\r\ndeep\r\n"


def flat(parts: int) -> bytes:
    body = b"".join(b"--b\r\n\r\npart\r\n" for _ in range(parts))
    return HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body + b"--b--\r\n"


MANY_TO = b", ".join(b"user%d@x.example" % n for n in range(4_000))
WORDS = b" ".join(b"=?utf-8?Q?=C3=A4?=" for _ in range(3_000))
UNLIMITED = Limits(header_bytes=10_000_000)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (flat(500), "too_many_parts"),
        (flat(20_000), "too_many_parts"),
        (nested(31), "too_deep"),
        (nested(300), "too_deep"),
        (nested(5_000), "too_deep"),
        (HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\nx", "headers_too_large"),
        (HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\nx", "headers_too_large"),
        (HEAD + b"\r\n" + b"x" * (25 * 1024 * 1024), "too_large"),
    ],
    ids=["501 parts", "20000 parts", "depth 31", "depth 300", "depth 5000", "long header", "many headers", "25 MB"],
)
def test_beyond_a_bound_sender_subject_and_ids_are_still_told(raw: bytes, reason: str) -> None:
    began = time.process_time()
    read = parse(raw)
    assert time.process_time() - began < 2
    assert read.quarantine == reason
    assert (read.sender.address, read.subject) == ("ann@x.example", "bounds INC-2026-000007")
    assert (read.message_id, read.ancestors, read.ticket_number) == ("b@x", ("a@x",), "INC-2026-000007")
    assert (read.text, read.files) == ("", ())


@pytest.mark.parametrize("raw", [flat(499), nested(29)], ids=["500 parts", "depth 30"])
def test_at_a_bound_everything_is_read(raw: bytes) -> None:
    assert parse(raw).quarantine is None


def test_ten_thousand_recipients_keep_two_hundred() -> None:
    many = b", ".join(b"user%d@x.example" % n for n in range(10_000))
    read = parse(HEAD + b"To: " + many + b"\r\n\r\nx", Options(limits=UNLIMITED))
    assert read.quarantine is None
    assert len(read.recipients) == DEFAULT.recipients


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"To: " + MANY_TO + b"\r\n\r\nx",
        HEAD + b"X-Words: " + WORDS + b"\r\nSubject: " + WORDS + b"\r\n\r\nx",
        HEAD + b"To: " + b"<" * 90_000 + b"\r\n\r\nx",
        HEAD + b"To: " + b"<," * 45_000 + b"\r\n\r\nx",
        HEAD + b"To: " + b"(" * 90_000 + b"\r\n\r\nx",
        HEAD + b"To: " + b'"' * 90_000 + b"\r\n\r\nx",
        HEAD + b"To: " + b"@:" * 45_000 + b"\r\n\r\nx",
        HEAD + b"To: " + b"=?" * 45_000 + b"\r\n\r\nx",
        HEAD + b"References: " + b"<a@b>" * 15_000 + b"\r\n\r\nx",
        HEAD + b"References: " + b"<" * 90_000 + b"\r\n\r\nx",
        HEAD + b"Content-Type: text/plain" + b";a" * 40_000 + b"\r\n\r\nx",
        HEAD + b"Content-Type: text/plain; " + b" " * 90_000 + b"\r\n\r\nx",
        HEAD + b'Content-Type: text/plain; a="' + b"\\" * 90_000 + b"\r\n\r\nx",
        HEAD + b"Content-Type: multipart/mixed; boundary=" + b"-" * 200 + b"\r\n\r\n" + b"-" * 1_000_000,
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b " * 500_000,
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\n--b" + b" " * 1_000_000 + b"x",
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<div>" * 20_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<p>" * 200_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<b><p>" * 3_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<table>" * 2_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<a href=x>" * 3_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<" * 1_000_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<!--" * 300_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"&lt" * 300_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<script>" * 100_000,
        HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * 1_000_000,
        HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * 1_000_000,
        HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A=" * 500_000,
        HEAD + b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+AOQ-" * 200_000,
        HEAD + b"\r\n" + bytes(range(256)) * 4_000,
        HEAD + b"\r\n" + b"\x00" * 1_000_000,
        HEAD + b"\r\n" + b" \r\n" * 500_000,
        b"\r\n" * 500_000,
        b" " * 1_000_000,
        b":" * 1_000_000,
        b"a:\n" * 40_000,
    ],
)
def test_hostile_mails_are_read_soon(raw: bytes) -> None:
    began = time.process_time()
    read = parse(raw)
    assert time.process_time() - began < 2.5
    assert read.quarantine in {None, "too_large", "too_slow", "too_many_parts", "headers_too_large", "unreadable"}


def test_time_used_up_is_a_bound_like_others() -> None:
    read = parse(flat(100), Options(limits=Limits(seconds=0.0)))
    assert read.quarantine == "too_slow"
    assert read.subject.startswith("bounds")


def test_mails_that_may_be_slow_are_told_from_ordinary_ones() -> None:
    assert not is_suspicious(flat(5))
    assert is_suspicious(flat(200))
    assert is_suspicious(HEAD + WORDS)
    assert is_suspicious(HEAD + b"<i>" * 6_000)


def well_formed(read: ParsedMail) -> None:
    texts = [read.text, read.subject, read.sender.address, read.sender.name, *(f.name for f in read.files)]
    for text in texts:
        assert "\x00" not in text
        text.encode()
    for text in (read.subject, read.sender.name, read.sender.address, *(f.name for f in read.files)):
        assert not set(text) & set("\r\n")
    assert read.sender.address
    assert len(read.fingerprint) == 32


@settings(max_examples=examples(300), deadline=2_000)
@given(st.binary(max_size=5_000))
def test_any_bytes_are_read(raw: bytes) -> None:
    well_formed(parse(raw))
    well_formed(salvage(raw, "unreadable"))


NAMES = st.sampled_from(
    [
        b"From", b"To", b"Cc", b"Subject", b"Content-Type", b"Content-Disposition", b"Content-Transfer-Encoding",
        b"Message-ID", b"References", b"In-Reply-To", b"Date", b"Content-ID", b"Auto-Submitted", b"X-Loop",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=b", b"text/html; charset=utf-16",
            b"text/plain; charset=bogus", b"message/rfc822", b"base64", b"quoted-printable", b"x-uuencode",
            b"attachment; filename*0*=utf-8''%00; filename*1=../x", b"=?utf-8?B?/w==?= <a@b>", b"<a@b> <c@d>",
            b"text/plain; format=flowed", b"inline; filename==?utf-8?Q?=0A?=",
        ]
    ),
)  # fmt: skip
PARTS = st.lists(st.tuples(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.binary(max_size=200)), max_size=6)


@settings(max_examples=examples(300), deadline=2_000)
@given(PARTS)
def test_anything_shaped_like_a_mail_is_read(parts: list[tuple[list[tuple[bytes, bytes]], bytes]]) -> None:
    blocks = [b"".join(n + b": " + v + b"\r\n" for n, v in fields) + b"\r\n" + body for fields, body in parts]
    well_formed(parse(b"\r\n--b\r\n".join(blocks)))


def test_two_thousand_damaged_mails_are_read() -> None:
    seeded = random.Random(20261121)
    source = bytearray(flat(4) + HEAD + b"Content-Type: text/html\r\n\r\n<p>x</p>" + WORDS[:2_000])
    for _ in range(examples(2_000)):
        damaged = bytearray(source)
        for _ in range(seeded.randint(1, 12)):
            place = seeded.randrange(len(damaged))
            action = seeded.randrange(3)
            if action == 0:
                damaged[place] = seeded.randrange(256)
            elif action == 1:
                del damaged[place : place + seeded.randrange(40)]
            else:
                damaged[place:place] = damaged[seeded.randrange(len(damaged)) :][: seeded.randrange(60)]
        well_formed(parse(bytes(damaged)))
