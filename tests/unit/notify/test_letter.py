"""Mails as bytes: what readers of mail make of them, and that nobody's words become headers."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import unquote
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.letter import BadAddressError, File, Letter, address_of, compose, one_line, subject_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EXPECTED = {
    "from", "to", "subject", "date", "message-id", "reply-to", "in-reply-to", "references", "auto-submitted",
    "x-auto-response-suppress", "x-loop", "precedence", "x-deskwire-delivery", "mime-version", "content-type",
    "content-transfer-encoding",
}  # fmt: skip


def letter(**changes: Any) -> Letter:
    given: dict[str, Any] = {
        "message_id": "delivery.1@acme.example",
        "date": NOON,
        "sender_name": "Acme",
        "sender": "support@acme.example",
        "recipient_name": "Mia",
        "recipient": "mia@customer.example",
        "subject": "Printer",
        "number": "INC-2026-000001",
        "text": "Hello.",
        "delivery_id": UUID(int=1),
    }
    return Letter(**(given | changes))


def read(data: bytes) -> EmailMessage:
    found = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


anything = st.text(st.characters(codec=None), max_size=200)
nasty = st.one_of(
    anything,
    st.lists(
        st.sampled_from(
            ["\r\n", "\n", "\r", "\x00", "Bcc: all@x.example", "=?utf-8?q?x?=", '"', "\\", "ü", "漢", " ", "<a@b>"]
        ),
        max_size=12,
    ).map("".join),
)


@given(subject=nasty, sender_name=nasty, recipient_name=nasty, name=nasty, text=anything, reference=nasty)
def test_no_text_becomes_a_header(  # noqa: PLR0917 - drawn
    subject: str, sender_name: str, recipient_name: str, name: str, text: str, reference: str
) -> None:
    data = compose(
        letter(
            subject=subject,
            sender_name=sender_name,
            recipient_name=recipient_name,
            text=text,
            references=[reference, "fine@x.example"],
            files=[File(name=name, media_type="text/plain", data=b"x")],
            submitted="auto-replied",
            reply_to="reply+abc@acme.example",
        )
    )
    assert data.isascii()
    head = data.split(b"\r\n\r\n", 1)[0]
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    names = [line.split(b":")[0].decode().lower() for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert set(names) <= EXPECTED
    assert len(names) == len(set(names))
    mail = read(data)
    assert [one.addr_spec for one in mail["To"].addresses] == ["mia@customer.example"]
    assert [one.addr_spec for one in mail["From"].addresses] == ["support@acme.example"]
    assert "INC-2026-000001" in mail["Subject"]


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=80))
def test_names_and_subjects_arrive_as_they_were(text: str) -> None:
    # By the older of the library's two readers: the newer one puts spaces between the encoded words of a name.
    mail = email.message_from_bytes(compose(letter(subject=text, sender_name=text)))
    assert str(make_header(decode_header(mail["Subject"]))) == f"{text} [INC-2026-000001]"
    phrase, _, address = mail["From"].rpartition("<")
    assert address == "support@acme.example>"
    phrase = phrase.strip()
    assert (unquote(phrase) if phrase.startswith('"') else str(make_header(decode_header(phrase)))) == text


def test_text_and_html_are_alternatives_and_files_stand_beside_them() -> None:
    file = File(name="Größe.pdf", media_type="application/pdf", data=b"\x00\xff" * 50)
    mail = read(compose(letter(text="Grüße\n.\nEnde", html="<p>Grüße</p>", files=[file])))
    assert mail.get_content_type() == "multipart/mixed"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().split() == ["Grüße", ".", "Ende"]
    assert html.get_content().strip() == "<p>Grüße</p>"
    (attached,) = list(mail.iter_attachments())
    assert (attached.get_filename(), attached.get_content()) == ("Größe.pdf", b"\x00\xff" * 50)


def test_what_a_person_wrote_is_not_marked_as_a_machines() -> None:
    mail = read(compose(letter()))
    assert not [name for name in ("Auto-Submitted", "X-Loop", "Precedence", "X-Auto-Response-Suppress") if mail[name]]


@pytest.mark.parametrize("submitted", ["auto-replied", "auto-generated"])
def test_what_a_machine_wrote_says_so(submitted: str) -> None:
    mail = read(compose(letter(submitted=submitted)))
    assert (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"]) == (submitted, "All")
    assert (mail["Precedence"] == "bulk") is (submitted == "auto-replied")


def test_references_keep_the_first_and_the_newest_whole_however_long_they_are() -> None:
    known = [f"{'x' * 90}.{number}@outlook.example" for number in range(40)]
    mail = read(compose(letter(references=[*known, "not an id", "two@@x"])))
    kept = [one.strip("<>") for one in mail["References"].split()]
    assert kept == [known[0], *known[-19:]]
    assert mail["In-Reply-To"] == f"<{known[-1]}>"


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [
        ("Printer", "Printer [INC-2026-000001]"),
        ("Re: Printer [INC-2026-000001]", "Re: Printer [INC-2026-000001]"),
        ("P1 ticket INC-2026-000001 waits", "P1 ticket [INC-2026-000001] waits"),
        ("Re: RE: re: Printer", "re: Printer [INC-2026-000001]"),
        ("", "[INC-2026-000001]"),
    ],
)
def test_a_subject_names_the_ticket_once(subject: str, wanted: str) -> None:
    assert subject_of(subject, "INC-2026-000001") == wanted


@pytest.mark.parametrize(
    "address", ["", "x", "a b@x.example", "a@b@x", "a@x.example\r\nBcc: b@x", "<a@x>", "ü@x.example", "a@" + "x" * 300]
)
def test_what_is_no_address_is_refused_without_being_quoted(address: str) -> None:
    with pytest.raises(BadAddressError) as caught:
        address_of(address)
    assert address == "" or address not in str(caught.value)


def test_a_domain_goes_out_in_ascii() -> None:
    assert address_of("a+b@Müller.example") == "a+b@xn--mller-kva.example"


def test_a_line_is_cut_with_a_sign_that_it_was() -> None:
    assert one_line("a\r\n b\x00c", 100) == "a b c"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
