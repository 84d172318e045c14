"""Mail that a machine wrote is known as such, so that it moves no clock and gets no answer (B4)."""

from __future__ import annotations

import pytest

from services.ingest.mail.parse import Options, parse


def mail(*lines: bytes) -> bytes:
    return b"\r\n".join([b"From: a@x.example", *lines]) + b"\r\n\r\nHello.\r\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"Auto-Submitted: auto-replied", "auto-submitted"),
        (b"Auto-Submitted: auto-generated; owner=x", "auto-submitted"),
        (b"auto-submitted: AUTO-NOTIFIED", "auto-submitted"),
        (b"Precedence: bulk", "precedence"),
        (b"Precedence: junk", "precedence"),
        (b"Precedence: LIST", "precedence"),
        (b"List-Id: <x.example>", "list"),
        (b"X-Auto-Response-Suppress: All", "auto-response-suppress"),
        (b"X-Auto-Response-Suppress: DR, OOF, AutoReply", "auto-response-suppress"),
        (b"X-Autoreply: yes", "x-autoreply"),
        (b"X-Autorespond: gone", "x-autorespond"),
        (b"Return-Path: <>", "null-return-path"),
        (b"Content-Type: multipart/report; report-type=delivery-status; boundary=b", "report"),
        (b"Content-Type: multipart/report; report-type=disposition-notification; boundary=b", "report"),
        (b"Content-Type: message/delivery-status", "report"),
        (b"X-Loop: deskwire", "own-loop"),
        (b"X-Failed-Recipients: b@y.example", "x-failed-recipients"),
    ],
)
def test_automatic_mail_is_known(line: bytes, why: str) -> None:
    assert parse(mail(line)).automatic == why


@pytest.mark.parametrize(
    "line",
    [
        b"Auto-Submitted: no",
        b"Auto-Submitted: No; x=y",
        b"Precedence: normal",
        b"Precedence: first-class",
        b"X-Auto-Response-Suppress: None",
        b"X-Loop: somebody-else",
        b"X-Autoreply: no",
        b"Return-Path: <a@x.example>",
        b"Content-Type: text/plain",
        b"Subject: Automatic door is broken",
    ],
)
def test_mail_of_people_is_not_taken_for_automatic(line: bytes) -> None:
    assert parse(mail(line)).automatic is None


def test_the_envelope_tells_a_report_where_the_header_does_not() -> None:
    assert parse(mail(), Options(return_path="")).automatic == "null-return-path"
    assert parse(mail(b"Return-Path: <>"), Options(return_path="a@x.example")).automatic is None


def test_a_mailer_daemon_is_no_person() -> None:
    assert parse(mail().replace(b"a@x", b"MAILER-DAEMON@x")).automatic == "mailer-daemon"


OURS = Options(authserv_ids=frozenset({"mx.acme.example"}))


@pytest.mark.parametrize(
    ("results", "spoofed"),
    [
        (b"mx.acme.example; dmarc=fail header.from=x.example; spf=pass", True),
        (b"mx.acme.example; dmarc=pass; spf=fail", False),
        (b"mx.acme.example; spf=fail smtp.mailfrom=x; dkim=none", True),
        (b"mx.acme.example; spf=softfail; dkim=pass", False),
        (b"mx.acme.example; spf=pass", False),
        (b"mx.acme.example; none", False),
        (b"elsewhere.example; dmarc=fail", False),
        (b"mx.acme.example 1; spf=pass (dmarc=fail in a comment)", False),
    ],
)
def test_only_our_own_servers_word_makes_a_sender_spoofed(results: bytes, spoofed: bool) -> None:
    assert parse(mail(b"Authentication-Results: " + results), OURS).spoofed is spoofed


def test_without_a_server_of_ours_nothing_is_spoofed() -> None:
    assert not parse(mail(b"Authentication-Results: mx.acme.example; dmarc=fail")).spoofed
