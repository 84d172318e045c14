"""Events fit their topic and say the same however a message came."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from services.ingest.domain import Draft, Placement, opened_ticket, participant, quarantined, received, thread_key
from services.ingest.mail.addresses import Mailbox
from services.ingest.mail.body import File
from services.ingest.mail.parse import ParsedMail
from services.ingest.mailroom import text_of
from shared.contracts import ids
from shared.contracts.message import Attachment, BlobRef, Body, Channel, Parent

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
BLOB = BlobRef(sha256="0" * 64, size=1, media_type="text/plain")


def draft(**more: object) -> Draft:
    values: dict[str, object] = {
        "tenant_id": "acme",
        "message_id": UUID(int=1),
        "channel": Channel.EMAIL,
        "sender": participant("acme", "a@x.example"),
        "fingerprint": b"",
    }
    return Draft(**(values | more))  # type: ignore[arg-type]


def test_the_largest_message_there_can_be_fits_the_topic() -> None:
    people = tuple(participant("acme", f"{n}{'ü' * 60}@{'x' * 240}.example", "\U0001f600" * 256) for n in range(200))
    file = Attachment(filename="\U0001f600" * 120, blob=BLOB, content_id="\U0001f600" * 250)
    large = draft(recipients=people, attachments=(file,) * 200, subject='"' * 500, body=Body(text='"' * 32_768))
    event = received(large, Placement(UUID(int=1), Parent.NONE), NOW)
    assert len(event.to_bytes()) <= 262_144
    assert event.recipients[0].address == people[0].address
    assert event.attachments


def test_people_and_files_are_kept_whole_where_they_fit() -> None:
    people = tuple(participant("acme", f"{n}@x.example", "Name") for n in range(200))
    event = received(draft(recipients=people), Placement(UUID(int=1), Parent.NONE), NOW)
    assert event.recipients == people


def test_a_message_opens_a_ticket_unless_its_parent_is_known() -> None:
    one = draft()
    for parent in (Parent.NONE, Parent.UNKNOWN):
        assert opened_ticket(one, Placement(UUID(int=1), parent)) == ids.ticket_id("acme", UUID(int=1))
    assert opened_ticket(one, Placement(UUID(int=1), Parent.KNOWN, UUID(int=2))) is None


def test_only_what_could_not_be_read_is_quarantined() -> None:
    assert quarantined(draft(), NOW) is None
    event = quarantined(draft(quarantine="too_deep", original=BLOB), NOW)
    assert event is not None
    assert event.reason == "too_deep"


def test_thread_keys_tell_kinds_apart_and_take_any_text() -> None:
    assert thread_key("mail", "a") != thread_key("other", "a")
    assert len(thread_key("mail", "\ud800")) == 16


def test_attachments_beyond_those_named_are_mentioned_in_the_text() -> None:
    files = tuple(File(name=f"{n}", media_type="text/plain", data=b"") for n in range(203))
    told = text_of(ParsedMail(sender=Mailbox("a@x.example"), text="hello", files=files))
    assert told == "hello\n\n[3 more attachments are in the original message.]"
