"""Reports of mail servers, in the shapes they come in; none of them makes more of a mail than it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest import suppressing
from services.ingest.mail import worker
from services.ingest.mail.parse import Options, parse
from services.ingest.mail.report import Kind, Report

ORIGINAL = "From: support@acme.example\r\nTo: ann@customer.example\r\nMessage-ID: <d1@acme.example>\r\nSubject: x\r\n"


def dsn(recipient: str, original: str = ORIGINAL, kind: str = "message/rfc822", **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        "From: MAILER-DAEMON@mx.customer.example\r\nTo: support@acme.example\r\nSubject: Undelivered\r\n"
        "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <b1@mx.customer.example>\r\nAuto-Submitted: auto-replied\r\n"
        f"{more}MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nI'm sorry to have to inform you.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; mx.customer.example\r\nArrival-Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\n{recipient}\r\n"
        f"--b\r\nContent-Type: {kind}\r\n\r\n{original}\r\nHello\r\n--b--\r\n"
    ).encode()


def report(raw: bytes) -> Report | None:
    return parse(raw).report


FAILED = "Final-Recipient: rfc822; ann@customer.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"


def test_a_standard_report_names_recipient_status_and_original() -> None:
    assert report(dsn(FAILED)) == Report(
        kind=Kind.BOUNCE,
        status="5.1.1",
        addresses=("ann@customer.example",),
        message_ids=("d1@acme.example",),
    )


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822-headers", "message/global"])
def test_the_original_is_found_in_every_form(kind: str) -> None:
    found = report(dsn(FAILED, kind=kind))
    assert found is not None
    assert found.message_ids == ("d1@acme.example",)


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        ("Final-Recipient: rfc822; a@b.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n", None),
        ("Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 4.4.7\r\n", None),
        ("Final-Recipient: rfc822; a@b.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n", None),
        ("Final-Recipient: rfc822; a@b.example\r\nAction: relayed\r\nStatus: 5.0.0\r\n", None),
        ("Final-Recipient: rfc822; a@b.example\r\n", None),
        ("Final-Recipient: rfc822; a@b.example\r\nStatus: 5.2.2 (mailbox full)\r\n", "5.2.2"),
        ("Final-Recipient: a@b.example\r\nAction: Failed (bad)\r\nDiagnostic-Code: smtp;554 go away\r\n", "5.0.0"),
        (
            "Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550-5.7.1 spam\r\n",
            "5.7.1",
        ),
        (
            (
                "Final-Recipient: rfc822; x@b.example\r\nAction: delayed\r\nStatus: 4.0.0\r\n\r\n"
                "Final-Recipient: rfc822; y@b.example\r\nAction: failed\r\nStatus: 5.1.2\r\n"
            ),
            "5.1.2",
        ),
    ],
)
def test_only_a_failure_for_good_is_a_bounce(recipient: str, status: str | None) -> None:
    found = report(dsn(recipient))
    assert found is not None
    assert (found.status or None) == status
    assert found.kind is (Kind.DELAY if status is None else Kind.BOUNCE)
    assert found.message_ids == ("d1@acme.example",)


def test_exim_names_the_failed_in_a_header_and_the_original_in_the_text() -> None:
    raw = (
        b"Return-path: <>\r\nFrom: Mail Delivery System <Mailer-Daemon@mx.example>\r\nTo: support@acme.example\r\n"
        b"X-Failed-Recipients: ann@customer.example\r\nAuto-Submitted: auto-replied\r\nSubject: Mail delivery failed\r\n\r\n"
        b"This message was created automatically by mail delivery software.\r\n\r\n  ann@customer.example\r\n"
        b"    SMTP error from remote mail server: 550 5.1.1 unknown\r\n\r\n------ This is a copy ------\r\n\r\n"
        b"Message-ID: <d1@acme.example>\r\nSubject: x\r\n"
    )
    assert report(raw) == Report(
        kind=Kind.BOUNCE, status="5.1.1", addresses=("ann@customer.example",), message_ids=("d1@acme.example",)
    )


def test_qmail_says_it_in_words() -> None:
    raw = (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nTo: support@acme.example\r\nSubject: failure notice\r\n\r\n"
        b"Hi. This is the qmail-send program at mx.example.\r\nThis is a permanent error; I've given up.\r\n\r\n"
        b"<ann@customer.example>:\r\n10.0.0.1 does not like recipient.\r\nRemote host said: 550 No such user\r\n\r\n"
        b"--- Below this line is a copy of the message.\r\n\r\nMessage-ID: <d1@acme.example>\r\n"
    )
    assert report(raw) == Report(
        kind=Kind.BOUNCE, status="5.0.0", addresses=("ann@customer.example",), message_ids=("d1@acme.example",)
    )


def test_a_complaint_is_told_from_a_report_that_it_is_no_spam() -> None:
    def arf(kind: str) -> bytes:
        return (
            "From: fbl@provider.example\r\nTo: support@acme.example\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
            "--b\r\nContent-Type: text/plain\r\n\r\nA complaint.\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
            f"Feedback-Type: {kind}\r\nUser-Agent: x/1\r\nVersion: 1\r\nOriginal-Rcpt-To: <ann@customer.example>\r\n\r\n"
            f"--b\r\nContent-Type: message/rfc822\r\n\r\n{ORIGINAL}\r\nHello\r\n--b--\r\n"
        ).encode()

    told, untold = report(arf("abuse")), report(arf("not-spam"))
    assert told == Report(kind=Kind.COMPLAINT, addresses=("ann@customer.example",), message_ids=("d1@acme.example",))
    assert untold is not None
    assert untold.kind is Kind.DELAY


@pytest.mark.parametrize(
    "raw",
    [
        b"From: ann@customer.example\r\nSubject: Error 550 5.1.1\r\n\r\n<bob@x.example>:\r\n550 5.1.1 what does it mean?\r\n",
        b"From: ann@customer.example\r\nAuto-Submitted: auto-replied\r\nReturn-Path: <>\r\n\r\nI am in room 5.1.1 until Monday.\r\n",
    ],
)
def test_neither_a_person_nor_a_vacation_bounces(raw: bytes) -> None:
    found = report(raw)
    assert found is None


def test_a_child_that_parses_says_the_same(tmp_path: object) -> None:
    from pathlib import Path  # noqa: PLC0415 - only here

    folder = Path(str(tmp_path))
    mail = folder / "mail"
    mail.write_bytes(dsn(FAILED, Delivered_To="support@acme.example"))
    answered = worker.result(worker.answer(worker.ask(mail, folder, Options())), folder)
    here = parse(mail.read_bytes())
    assert (answered.report, answered.delivered_to) == (here.report, here.delivered_to)
    assert here.delivered_to == ("support@acme.example",)


@given(st.text(max_size=300), st.text(max_size=100))
def test_whatever_a_status_says_nothing_is_raised(recipient: str, original: str) -> None:
    raw = dsn(recipient, original)
    assert parse(raw).quarantine is None


def test_how_long_an_address_rests_depends_on_what_was_wrong_with_it() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert suppressing.until("5.1.1", now) == now + timedelta(days=180)
    assert suppressing.until("5.2.2", now) == now + timedelta(days=7)
    assert suppressing.until("5.7.1", now) == now + timedelta(days=7)
    assert suppressing.until("5.1.8", now) is None
    assert suppressing.until("4.4.1", now) is None
