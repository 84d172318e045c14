"""What a mail is and answers, and what makes two deliveries one mail."""

from __future__ import annotations

import pytest

from services.ingest.mail.headers import Headers
from services.ingest.mail.parse import parse
from services.ingest.mail.references import ancestors, message_id, raw_fingerprint, ticket_number
from services.ingest.mailroom import source_of


def fields(**values: str) -> Headers:
    return Headers(tuple((name.replace("_", "-"), value.encode()) for name, value in values.items()))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("<a@x>", "a@x"),
        (" <a@x> ", "a@x"),
        ("<a\r\n @x>", "a@x"),
        ("<[x@y]>", "[x@y]"),
        ("a@x", "a@x"),
        ("<a@x> <b@x>", "a@x"),
        ("<>", None),
        ("", None),
        ("<a@x", "a@x"),
        ("\x00<a@x>", "a@x"),
    ],
)
def test_a_message_id_is_read(value: str, found: str | None) -> None:
    assert message_id(fields(message_id=value)) == found


def test_the_nearest_ancestor_comes_first() -> None:
    found = ancestors(fields(references="<root@x> <mid@x> <last@x>", in_reply_to="<last@x>"), 50)
    assert found == ("last@x", "mid@x", "root@x")


def test_in_reply_to_may_hold_several_ids_and_prose() -> None:
    assert ancestors(fields(in_reply_to="Your message of <a@x> and <b@x>"), 50) == ("a@x", "b@x")


def test_the_root_is_kept_of_a_thousand_references() -> None:
    chain = " ".join(f"<{n}@x>" for n in range(1000))
    found = ancestors(fields(references=chain), 50)
    assert (len(found), found[0], found[-1]) == (50, "999@x", "0@x")


@pytest.mark.parametrize(
    ("subject", "number"),
    [
        ("Re: [INC-2026-000123] broken", "INC-2026-000123"),
        ("AW: acme-2026-7 INC-2026-000001", "INC-2026-000001"),
        ("SUP2-2026-12345", "SUP2-2026-12345"),
        ("CVE-2026-12345 in our server", None),
        ("XINC-2026-000123-4", None),
        ("call 2026-000123", None),
        ("", None),
    ],
)
def test_a_ticket_number_is_found_in_the_subject(subject: str, number: str | None) -> None:
    assert ticket_number(subject) == number


def mail(*lines: bytes, body: bytes = b"text") -> bytes:
    return b"\r\n".join([b"From: a@x.example", b"Subject: s", *lines]) + b"\r\n\r\n" + body + b"\r\n"


def source(raw: bytes, receipt: str = "r") -> str:
    return source_of(parse(raw), receipt)


def test_copies_that_came_by_different_ways_are_one_mail() -> None:
    one = mail(b"Message-ID: <a@x>", b"Date: now")
    other = b"Received: from x by y\r\nDelivered-To: sales@y\r\nX-Spam-Status: No\r\n" + one
    assert source(one, "1") == source(other, "2")


def test_another_content_under_a_copied_message_id_is_another_mail() -> None:
    one = mail(b"Message-ID: <a@x>", body=b"first")
    assert source(one) != source(mail(b"Message-ID: <a@x>", body=b"second"))
    assert source(one) != source(mail(b"Message-ID: <a@x>", body=b"first").replace(b"a@x.ex", b"b@x.ex"))


def test_another_attachment_under_a_copied_message_id_is_another_mail() -> None:
    def with_file(data: bytes) -> bytes:
        content = b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: image/png\r\n\r\n" + data + b"\r\n--b--"
        return mail(b"Message-ID: <a@x>", b"Content-Type: multipart/mixed; boundary=b", body=content)

    assert source(with_file(b"one")) != source(with_file(b"two"))


def test_a_mail_without_an_id_is_known_by_its_content_if_it_has_a_date() -> None:
    dated = mail(b"Date: Sat, 21 Nov 2026 10:00:00 +0000")
    assert source(dated, "1") == source(dated, "2")
    undated = mail()
    assert source(undated, "1") != source(undated, "2")


def test_trace_headers_do_not_change_the_fingerprint_of_an_unreadable_mail() -> None:
    one = mail(b"Message-ID: <a@x>")
    assert raw_fingerprint(one) == raw_fingerprint(b"Received: a\r\n b\r\nReturn-Path: <x>\r\n" + one)
    assert raw_fingerprint(one) != raw_fingerprint(one + b"more")
