"""One message as programs hand it in: its shape, its identity, its original, its draft."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.ingest.channels import submission
from services.ingest.channels.submission import AttachmentIn, MessageIn, Refused, Sender
from services.ingest.domain import Draft, thread_key
from shared.contracts.message import Body, Channel

GOOD: dict[str, Any] = {"sender": {"address": "ann@x.example"}, "subject": "Door"}
UPLOAD = UUID(int=7)
MESSAGE = UUID(int=8)


def message(**changes: Any) -> MessageIn:
    return MessageIn.model_validate(GOOD | changes)


def drafted(**changes: Any) -> Draft:
    """The draft of a message whose bytes are stored."""
    given = message(**changes)
    payload, fingerprint = submission.payload_of(GOOD | changes)
    return submission.draft(
        given,
        tenant_id="acme",
        account="acme/1",
        message_id=MESSAGE,
        sender=submission.writer("acme", given.sender),
        body=Body(text=given.text or ""),
        attachments=(),
        payload=payload,
        original=None,
        fingerprint=fingerprint,
        correlation="c",
        traceparent="t",
    )


@pytest.mark.parametrize(
    "said",
    [
        {"subject": "Door"},
        {"subject": "", "text": "open"},
        {"subject": "", "html": "<p>open"},
        {"subject": "", "attachments": [{"upload_id": str(UPLOAD)}]},
    ],
)
def test_a_message_says_something(said: dict[str, Any]) -> None:
    assert message(**said).channel == "api"


@pytest.mark.parametrize("empty", [{"subject": ""}, {"subject": " \n"}, {"subject": "", "text": "", "html": ""}])
def test_a_message_that_says_nothing_is_refused(empty: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a subject, a text or an attachment"):
        message(**empty)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": "email"},
        {"channel": "carrier-pigeon"},
        {"sender": {"address": " "}},
        {"sender": {"address": "a", "role": "admin"}},
        {"source_id": ""},
        {"hints": {"affected_customers": -1}},
        {"hints": {"tags": ["x"] * 21}},
        {"attachments": [{"upload_id": str(UPLOAD)}] * 51},
        {"tenant_id": "other"},
    ],
)
def test_what_is_not_known_or_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        message(**wrong)


@pytest.mark.parametrize("given", [{}, {"filename": "a"}, {"upload_id": str(UPLOAD), "data": "eA=="}])
def test_a_file_is_sent_ahead_or_here_and_not_both(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either upload_id or data"):
        AttachmentIn.model_validate(given)


def test_two_integrations_never_share_an_id() -> None:
    ids = {
        submission.identity("acme", "acme/1", "1"),
        submission.identity("acme", "acme/2", "1"),
        submission.identity("other", "acme/1", "1"),
        submission.identity("acme", "acme/1", "2"),
    }
    assert len(ids) == 4
    assert submission.identity("acme", "acme/1", "1") in ids


def test_the_original_is_the_same_however_its_fields_are_ordered_and_holds_no_file() -> None:
    file = {"filename": "a.txt", "data": base64.b64encode(b"secret").decode()}
    one, print_one = submission.payload_of({"subject": "x", "attachments": [file]})
    two, print_two = submission.payload_of({"attachments": [dict(reversed(file.items()))], "subject": "x"})
    assert (one, print_one) == (two, print_two)
    assert file["data"].encode() not in one
    _, other = submission.payload_of({"subject": "x", "attachments": [file | {"data": "b3RoZXI="}]})
    assert other != print_one
    ahead = {"subject": "x", "attachments": [{"upload_id": str(UPLOAD)}]}
    assert str(UPLOAD).encode() in submission.payload_of(ahead)[0]


def test_a_file_in_the_message_has_a_safe_name_and_the_type_its_bytes_tell() -> None:
    given = AttachmentIn(
        filename="../../etc/passwd", data=base64.b64encode(b"%PDF-1.7").decode(), media_type="text/html", inline=True
    )
    file = submission.decoded(given, 0)
    assert "/" not in file.name
    assert (file.media_type, file.data, file.inline) == ("application/pdf", b"%PDF-1.7", True)
    assert submission.decoded(AttachmentIn(data="eA=="), 2).name


@pytest.mark.parametrize("data", ["ä", "x", "eA", "e A=="])
def test_what_is_not_base64_is_refused_with_its_place(data: str) -> None:
    with pytest.raises(Refused, match="not base64") as refused:
        submission.decoded(AttachmentIn(data=data), 3)
    assert refused.value.path == ("attachments", 3, "data")


def test_the_draft_carries_what_was_said_on_one_line_where_it_must_be() -> None:
    draft = drafted(subject="a\nb", source_id="s-1", channel="web", automatic=True, ticket_number="INC-2026-1")
    assert (draft.subject, draft.external_id, draft.channel) == ("a b", "s-1", Channel.WEB)
    assert (draft.automatic, draft.ticket_number, draft.submitter) == (True, "INC-2026-1", "acme/1")
    assert draft.payload is not None
    assert drafted(ticket_number="").ticket_number is None
    assert drafted(hints={"product": "portal"}).hints.product == "portal"
    assert submission.writer("acme", Sender(address="ann@x.example", name="A\nB")).name == "A B"


def test_an_answer_is_looked_for_by_every_name_it_may_have() -> None:
    nothing = drafted()
    assert (nothing.answers, nothing.answers_ids) == ((), ())
    by_mail = drafted(in_reply_to=" <m@x.example> ")
    assert by_mail.answers == (thread_key("mail", "m@x.example"),)
    assert by_mail.answers_ids == (submission.identity("acme", "acme/1", " <m@x.example> "),)
    by_id = drafted(in_reply_to=str(UPLOAD))
    assert by_id.answers_ids == (UPLOAD, submission.identity("acme", "acme/1", str(UPLOAD)))
