"""What `POST /v1/messages` takes: the shape of one message, and the draft it becomes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.ingest.domain import Draft, participant, thread_key
from services.ingest.mail import charset, files
from services.ingest.mail.body import File
from services.ingest.mail.parse import MAX_SUBJECT
from shared.contracts import ids
from shared.contracts.message import Attachment, BlobRef, Body, Channel, Hints, Participant

Word = Annotated[str, StringConstraints(max_length=64, strip_whitespace=True)]
SubmissionChannel = Literal["api", "web", "chat", "phone", "partner", "alert"]

INLINE_PAYLOAD = 32_768
"""Bytes of the original kept in the row; a larger one is a blob."""


class Refused(ValueError):  # noqa: N818 - said of a message, not of us
    """One message cannot be taken; `path` leads to the value that is wrong."""

    def __init__(self, path: tuple[str | int, ...], detail: str) -> None:
        super().__init__(detail)
        self.path = path
        self.detail = detail


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sender(_Strict):
    """Who writes. A customer may only write as themselves."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=320, strip_whitespace=True)] = Field(
        description="A mail address, or what the channel calls a person: a phone number, a handle."
    )
    name: Annotated[str, StringConstraints(max_length=256)] = ""


class HintsIn(Hints):
    """What the sender says of the ticket to be; triage weighs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: Word | None = None
    category: Word | None = None
    impact: Word | None = None
    urgency: Word | None = None
    priority: Word | None = None
    affected_customers: Annotated[int, Field(ge=0, le=10**9)] | None = None
    language: Word | None = None
    environment: Word | None = None
    version: Word | None = None
    error_code: Word | None = None
    tags: Annotated[tuple[Word, ...], Field(max_length=20)] = ()


class AttachmentIn(_Strict):
    """A file: sent ahead (`upload_id`), or here (`filename` and `data`)."""

    upload_id: UUID | None = None
    filename: Annotated[str, StringConstraints(max_length=255)] | None = None
    data: str | None = Field(None, description="The bytes in base64.")
    media_type: Annotated[str, StringConstraints(max_length=127)] = ""
    inline: bool = False
    content_id: Annotated[str, StringConstraints(max_length=250)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AttachmentIn:
        if (self.upload_id is None) == (self.data is None):
            msg = "give either upload_id or data"
            raise ValueError(msg)
        return self


class MessageIn(_Strict):
    """One message."""

    channel: SubmissionChannel = "api"
    source_id: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="What your system calls this message; the same id again is the same message."
    )
    sender: Sender
    subject: Annotated[str, StringConstraints(max_length=1000)] = ""
    text: Annotated[str, StringConstraints(max_length=1_000_000)] | None = None
    html: Annotated[str, StringConstraints(max_length=1_000_000)] | None = None
    hints: HintsIn | None = None
    attachments: Annotated[tuple[AttachmentIn, ...], Field(max_length=50)] = ()
    in_reply_to: Annotated[str, StringConstraints(min_length=1, max_length=998)] | None = Field(
        None,
        description="What it answers: an id of ours (message, conversation, ticket), a source_id, a Message-ID.",
    )
    ticket_number: Annotated[str, StringConstraints(max_length=64)] | None = None
    automatic: bool = Field(False, description="A machine wrote it: it moves no clock.")

    @model_validator(mode="after")
    def _says_something(self) -> MessageIn:
        if not (self.text or self.html or self.subject.strip() or self.attachments):
            msg = "a message needs a subject, a text or an attachment"
            raise ValueError(msg)
        return self


def identity(tenant_id: str, account: str, source_id: str) -> UUID:
    """The id of what `account` calls `source_id`; two integrations never share one."""
    return ids.message_id(tenant_id, "api", f"{account}:{source_id}")


def payload_of(item: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The original as kept, and its fingerprint. Files are kept as blobs: here only their hashes."""
    attachments = item.get("attachments")
    if attachments:
        slim = [
            {**one, "data": hashlib.sha256(one["data"].encode("utf-8", "replace")).hexdigest()}
            if isinstance(one.get("data"), str)
            else one
            for one in attachments
        ]
        item = {**item, "attachments": slim}
    payload = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    return payload, hashlib.sha256(payload).digest()


def decoded(one: AttachmentIn, number: int) -> File:
    """A file sent within the message. Raises Refused for what is not base64."""
    try:
        data = base64.b64decode((one.data or "").encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(("attachments", number, "data"), "not base64") from error
    kind = files.media_type(data[:4_096], one.media_type, one.filename or "")
    return File(
        name=files.safe_name(one.filename or "", files.fallback_name(number + 1, kind)),
        media_type=kind,
        data=data,
        inline=one.inline,
        content_id=one.content_id,
    )


def draft(
    message: MessageIn,
    *,
    tenant_id: str,
    account: str,
    message_id: UUID,
    sender: Participant,
    body: Body,
    attachments: tuple[Attachment, ...],
    payload: bytes,
    original: BlobRef | None,
    fingerprint: bytes,
    correlation: str,
    traceparent: str,
) -> Draft:
    """The draft of one message whose bytes are stored."""
    answers, answers_ids = _answered(tenant_id, account, message.in_reply_to)
    return Draft(
        tenant_id=tenant_id,
        message_id=message_id,
        channel=Channel(message.channel),
        sender=sender,
        fingerprint=fingerprint,
        submitter=account,
        subject=charset.one_line(message.subject, MAX_SUBJECT),
        body=body,
        attachments=attachments,
        original=original,
        payload=payload if original is None else None,
        external_id=message.source_id,
        answers=answers,
        answers_ids=answers_ids,
        ticket_number=message.ticket_number or None,
        automatic=message.automatic,
        hints=message.hints or _NO_HINTS,
        correlation=correlation,
        traceparent=traceparent,
    )


def writer(tenant_id: str, sender: Sender) -> Participant:
    """The person that a message names as its sender."""
    address = charset.one_line(sender.address, 320)
    return participant(tenant_id, address, charset.one_line(sender.name, 256))


_NO_HINTS = Hints()


def _answered(tenant_id: str, account: str, answered: str | None) -> tuple[tuple[bytes, ...], tuple[UUID, ...]]:
    """Where to look for what a message answers: ids of ours, what this account calls it, what mails call it."""
    if answered is None:
        return (), ()
    known: list[UUID] = []
    with contextlib.suppress(ValueError):
        known.append(UUID(answered))
    known.append(identity(tenant_id, account, answered))
    return (thread_key("mail", answered.strip().strip("<>")),), tuple(known)
