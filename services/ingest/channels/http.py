"""`POST /v1/messages` and `POST /v1/attachments`: messages from programs, one or up to a thousand at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import unquote
from uuid import UUID

import orjson
from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from services.ingest.archive import Archive
from services.ingest.channels import submission
from services.ingest.channels.submission import MessageIn, Refused
from services.ingest.domain import Draft, Outcome, Status
from services.ingest.intake import BusyError, Intake
from services.ingest.mail import charset, files
from services.ingest.mail.html import render
from services.ingest.mail.limits import DEFAULT
from services.ingest.store import messages as store
from shared.auth import Permission, Principal
from shared.contracts.directory import Role
from shared.contracts.message import Attachment, BlobRef
from shared.db import Database, Record
from shared.http import IdempotencyKey, Router, correlation, problems, requires, traceparent
from shared.http.context import UNPARSED, context_of
from shared.problem import FieldError, Problem, invalid, unavailable

BATCH = 1_000
LARGE, LARGE_AT_ONCE = 100, 2
"""Batches with more messages wait for their turn before they are read: twenty of them at once would take 200 MB, and
stand before everybody else's."""
_JSON = "application/json"
_MANY = TypeAdapter(list[MessageIn])
_ONE = TypeAdapter(MessageIn)

Submitter = Annotated[Principal, requires(Permission.MESSAGE_SUBMIT)]


class BatchIn(BaseModel):
    """Up to 1,000 messages. Each is taken or refused by itself; its `source_id` makes repeating it harmless."""

    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=BATCH)]


class Accepted(BaseModel):
    """What became of one message; the same again when it is sent again."""

    status: str = Field(description="`accepted`, or `duplicate` when it was stored before.")
    message_id: UUID
    conversation_id: UUID
    ticket_id: UUID | None = Field(
        None, description="The ticket it opens; absent when it answers a known message or names a ticket, and may join."
    )


class Result(BaseModel):
    """One message of a batch."""

    status: str = Field(description="`accepted`, `duplicate` or `invalid`.")
    message_id: UUID | None = None
    conversation_id: UUID | None = None
    ticket_id: UUID | None = None
    errors: list[FieldError] | None = Field(None, description="Why it was refused; pointers into the whole body.")


class BatchAccepted(BaseModel):
    """One result for each message, in their order. Valid ones are stored whatever the others are."""

    accepted: int
    duplicate: int
    invalid: int
    results: list[Result]


class Uploaded(BaseModel):
    """A file that messages of the same caller may name by `upload_id` within a day."""

    upload_id: UUID
    filename: str
    media_type: str = Field(description="Told by the content.")
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who submits, and the ids its events carry."""

    principal: Principal
    correlation: str
    traceparent: str


class Submissions:
    """The channel: reads bodies, stores bytes, hands drafts to the intake."""

    def __init__(self, database: Database, archive: Archive, intake: Intake) -> None:
        self._database = database
        self._archive = archive
        self._intake = intake
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def submit(
        self, caller: _Caller, items: Sequence[Any], key: str | None, *, prefix: tuple[str, ...] = ()
    ) -> list[Outcome | list[FieldError]]:
        """Store what is valid; for each item its outcome, or why it was refused with pointers below `prefix`."""
        if len(items) <= LARGE:
            return await self._submit(caller, items, key, prefix)
        async with self._large:
            return await self._submit(caller, items, key, prefix)

    async def _submit(
        self, caller: _Caller, items: Sequence[Any], key: str | None, prefix: tuple[str, ...]
    ) -> list[Outcome | list[FieldError]]:
        parsed = _parsed(items)
        uploads = await self._uploads(caller.principal, parsed)
        results: list[Outcome | list[FieldError] | None] = [None] * len(items)
        drafts: list[Draft] = []
        places: list[int] = []
        for number, (item, message) in enumerate(zip(items, parsed, strict=True)):
            at: tuple[object, ...] = (*prefix, number) if prefix else ()
            if isinstance(message, ValidationError):
                results[number] = _errors(message, at)
                continue
            source = f"{key}#{number}" if prefix else key
            try:
                # Without a key every message is a new one, whatever batch it stands in.
                drafts.append(await self._draft(caller, message, item, key and f"\0{source}", uploads))
                places.append(number)
            except Refused as error:
                results[number] = [FieldError.at((*at, *error.path), error.detail)]
        outcomes = await self._accept(drafts)
        for number, draft, outcome in zip(places, drafts, outcomes, strict=True):
            # One that names a ticket may join it: only tickets can tell, so no other id is promised.
            results[number] = replace(outcome, ticket_id=None) if draft.ticket_number else outcome
        return [result for result in results if result is not None]

    async def _accept(self, drafts: Sequence[Draft]) -> list[Outcome]:
        try:
            return await self._intake.accept(drafts)
        except BusyError as error:
            raise unavailable("The intake is full and", 1) from error

    async def _draft(
        self,
        caller: _Caller,
        message: MessageIn,
        item: Mapping[str, Any],
        key: str | None,
        uploads: Mapping[UUID, Record],
    ) -> Draft:
        principal = caller.principal
        tenant_id, account = principal.tenant_id, principal.account
        sender = submission.writer(tenant_id, message.sender)
        if principal.role is Role.CUSTOMER and sender.person_id != principal.person_id:
            raise Refused(("sender", "address"), "a customer writes as themselves")
        payload, fingerprint = submission.payload_of(item)
        original = None
        if len(payload) > submission.INLINE_PAYLOAD:
            original = await self._archive.original(tenant_id, payload, _JSON)
        text, page = charset.clean(message.text or ""), None
        if message.html:
            rendered = render(charset.clean(message.html), DEFAULT)
            text, page = text or rendered.text, rendered.safe
        return submission.draft(
            message,
            tenant_id=tenant_id,
            account=account,
            message_id=submission.identity(tenant_id, account, message.source_id or key or uuid.uuid4().hex),
            sender=sender,
            body=await self._archive.body(tenant_id, text, page),
            attachments=await self._attachments(tenant_id, message, uploads) if message.attachments else (),
            payload=payload,
            original=original,
            fingerprint=fingerprint,
            correlation=caller.correlation,
            traceparent=caller.traceparent,
        )

    async def _attachments(
        self, tenant_id: str, message: MessageIn, uploads: Mapping[UUID, Record]
    ) -> tuple[Attachment, ...]:
        found: list[Attachment] = []
        taken: set[str] = set()
        for number, one in enumerate(message.attachments):
            if one.upload_id is None:
                file = submission.decoded(one, number)
                name = files.unique(file.name, taken)
                (stored,) = await self._archive.attachments(tenant_id, [file])
                found.append(stored.model_copy(update={"filename": name}))
                continue
            row = uploads.get(one.upload_id)
            if row is None:
                raise Refused(("attachments", number, "upload_id"), "no such upload of yours")
            blob = BlobRef(sha256=row["sha256"].hex(), size=row["size"], media_type=row["media_type"])
            wanted = files.safe_name(one.filename, row["filename"]) if one.filename else row["filename"]
            name = files.unique(wanted, taken)
            found.append(Attachment(filename=name, blob=blob, inline=one.inline, content_id=one.content_id))
        return tuple(found)

    async def _uploads(
        self, principal: Principal, parsed: Sequence[MessageIn | ValidationError]
    ) -> Mapping[UUID, Record]:
        wanted = [
            one.upload_id
            for message in parsed
            if not isinstance(message, ValidationError)
            for one in message.attachments
            if one.upload_id is not None
        ]
        if not wanted:
            return {}
        return await store.uploads(self._database, principal.tenant_id, principal.account, wanted)

    async def upload(self, principal: Principal, filename: str, declared: str, data: bytes) -> Uploaded:
        """Keep a file until a message names it."""
        kind = files.media_type(data[:4_096], declared, filename)
        name = files.safe_name(filename, files.fallback_name(1, kind))
        blob = await self._archive.original(principal.tenant_id, data, kind)
        upload_id = uuid.uuid4()
        await store.insert_upload(
            self._database, principal.tenant_id, principal.account, upload_id, filename=name, blob=blob
        )
        return Uploaded(upload_id=upload_id, filename=name, media_type=kind, size=blob.size, sha256=blob.sha256)


def router(submissions: Submissions) -> Router:
    """The two paths."""
    routes = Router(tags=["messages"])
    forms = [{"$ref": f"#/components/schemas/{model}"} for model in ("MessageIn", "BatchIn")]
    body = {
        "required": True,
        "content": {_JSON: {"schema": {"oneOf": forms}}},
    }

    @routes.post(
        "/v1/messages",
        status_code=202,
        response_model=Accepted | BatchAccepted,
        responses=problems(409, 422),
        openapi_extra={"requestBody": body},
    )
    async def submit_messages(
        request: Request, principal: Submitter, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Hand in one message, or `{"messages": [...]}` with up to 1,000.

        Answered after everything accepted is stored for good. A batch is taken in part: each message has its result,
        valid ones are stored. Repeating is harmless for messages with a `source_id`, and for a request with an
        `Idempotency-Key` however late.
        """
        caller = _Caller(principal, correlation(request), traceparent(request))
        given = _json(request)
        if not isinstance(given, dict):
            raise invalid((), "an object is needed: a message, or `messages` with a list of them")
        if "messages" not in given:
            (result,) = await submissions.submit(caller, [given], idempotency_key)
            return _single(result)
        results = await submissions.submit(caller, _batch(given), idempotency_key, prefix=("messages",))
        return _many(results)

    @routes.post(
        "/v1/attachments",
        status_code=201,
        response_model=Uploaded,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload_attachment(
        request: Request,
        principal: Submitter,
        filename: Annotated[str, Query(max_length=1000, description="The name of the file.")] = "",
    ) -> Uploaded:
        """Send a file ahead of the message that will name it: the plain bytes as the body."""
        data = context_of(request).body
        if not data:
            raise Problem(422, "invalid", "Invalid request", "The body is empty.")
        declared = request.headers.get("content-type", "").partition(";")[0].strip()
        return await submissions.upload(principal, unquote(filename), declared, data)

    return routes


def _json(request: Request) -> Any:
    context = context_of(request)
    if context.json is UNPARSED:
        if context.body:
            raise Problem(
                415, "unsupported-media-type", "Unsupported media type", f"Send {_JSON}.", headers={"Accept": _JSON}
            )
        raise invalid((), "the body is empty")
    return context.json


def _batch(given: Mapping[str, Any]) -> list[Any]:
    items = given["messages"]
    if len(given) > 1:
        raise invalid((next(name for name in given if name != "messages"),), "not known beside `messages`")
    if not isinstance(items, list) or not 1 <= len(items) <= BATCH:
        raise invalid(("messages",), f"a list of 1 to {BATCH} messages is needed")
    return items


def _parsed(items: Sequence[Any]) -> Sequence[MessageIn | ValidationError]:
    """Every item validated; all at once, and one by one only when some are wrong."""
    try:
        return _MANY.validate_python(list(items))
    except ValidationError:
        found: list[MessageIn | ValidationError] = []
        for item in items:
            try:
                found.append(_ONE.validate_python(item))
            except ValidationError as error:
                found.append(error)
        return found


def _errors(error: ValidationError, at: Sequence[object]) -> list[FieldError]:
    return [
        FieldError.at((*at, *one["loc"]), one["msg"].removeprefix("Value error, "))
        for one in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]


def _single(result: Outcome | list[FieldError]) -> Response:
    if isinstance(result, list):
        raise Problem(422, "invalid", "Invalid request", errors=result)
    if result.status is Status.CONFLICT:
        raise Problem(
            422,
            "idempotency-key-reused",
            "Idempotency key reused",
            "It was used before for another message.",
        )
    headers = {"Location": f"/v1/messages/{result.message_id}"}
    if result.status is Status.DUPLICATE:
        headers["Idempotent-Replayed"] = "true"
    return Response(orjson.dumps(_told(result)), 202, headers, _JSON)


def _many(results: Sequence[Outcome | list[FieldError]]) -> Response:
    told = []
    counts = {"accepted": 0, "duplicate": 0, "invalid": 0}
    for number, result in enumerate(results):
        if isinstance(result, Outcome) and result.status is Status.CONFLICT:
            result = [FieldError.at(("messages", number, "source_id"), "used before for another message")]  # noqa: PLW2901
        if isinstance(result, list):
            counts["invalid"] += 1
            told.append({"status": "invalid", "errors": [error.model_dump(by_alias=True) for error in result]})
        else:
            counts[result.status.value] += 1
            told.append(_told(result))
    if counts["invalid"] == len(told):
        errors = [FieldError.model_validate(error) for one in told for error in one["errors"]]
        raise Problem(422, "invalid", "Invalid request", "No message could be taken.", errors=errors[:100])
    return Response(orjson.dumps({**counts, "results": told}), 202, media_type=_JSON)


def _told(outcome: Outcome) -> dict[str, Any]:
    told = {
        "status": outcome.status.value,
        "message_id": str(outcome.message_id),
        "conversation_id": str(outcome.conversation_id),
    }
    if outcome.ticket_id is not None:
        told["ticket_id"] = str(outcome.ticket_id)
    return told
