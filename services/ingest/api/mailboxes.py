"""`/v1/mailboxes`: which mailboxes are polled, and how they are."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from services.ingest.channels.mailbox import Mailboxes
from services.ingest.store import mailboxes as store
from shared.auth import Permission, Principal
from shared.db import Database, Record
from shared.http import IfMatch, Router, etag, problems, requires, stale
from shared.problem import conflict, not_found

Admin = Annotated[Principal, requires(Permission.TENANT_WRITE)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class MailboxIn(BaseModel):
    """A mailbox to poll."""

    model_config = ConfigDict(extra="forbid")

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 993
    tls: Literal["tls", "starttls", "none"] = "tls"
    username: Line
    password: Annotated[SecretStr, Field(max_length=1000)] | None = Field(
        None, description="Never shown again; in a change, absent keeps the one there is."
    )
    address: Line | None = Field(None, description="Of ours, which its mails came to; absent: the user name.")
    folder: Line = "INBOX"
    interval_seconds: Annotated[float, Field(ge=1, le=86_400)] = 30
    begin_with: Literal["new", "all"] = Field("new", description="Leave mails alone that are there already, or not.")
    after_import: Literal["keep", "seen", "move"] = Field("keep", description="What happens to a stored mail there.")
    move_to: Line | None = Field(None, description="The folder, for `move`.")
    active: bool = True

    @model_validator(mode="after")
    def _has_folder(self) -> MailboxIn:
        if (self.after_import == "move") != (self.move_to is not None):
            msg = "move_to goes with after_import `move`"
            raise ValueError(msg)
        return self


class MailboxView(BaseModel):
    """A mailbox and how it is."""

    mailbox_id: UUID
    version: int
    active: bool
    host: str
    port: int
    tls: str
    username: str
    address: str
    folder: str
    interval_seconds: float
    begin_with: str
    after_import: str
    move_to: str | None = None
    state: str = Field(description="`waiting` for its first poll, `ok`, `failing` or `inactive`.")
    imported: int = Field(description="Mails read so far, repetitions among them.")
    last_uid: int = Field(description="Every mail up to this number is stored.")
    succeeded_at: datetime | None = None
    failed_at: datetime | None = None
    failures: int = Field(description="In a row.")
    problem: str | None = Field(
        None, description="`address`, `dns`, `connect`, `tls`, `auth`, `folder`, `timeout`, `protocol` or `storage`."
    )
    detail: str | None = None
    next_at: datetime


class MailboxChecked(BaseModel):
    """What it said just now."""

    ok: bool
    problem: str | None = None
    detail: str
    mails: int | None = Field(None, description="In the folder.")


def router(database: Database, mailboxes: Mailboxes) -> Router:
    """The path operations."""
    routes = Router(tags=["mailboxes"])

    @routes.get("/v1/mailboxes", response_model=list[MailboxView], response_model_exclude_none=True)
    async def list_mailboxes(principal: Admin) -> list[MailboxView]:
        """Every mailbox of the tenant."""
        return [_view(row) for row in await store.of_tenant(database, principal.tenant_id)]

    @routes.post(
        "/v1/mailboxes",
        status_code=201,
        response_model=MailboxView,
        response_model_exclude_none=True,
        responses=problems(409),
    )
    async def add_mailbox(response: Response, principal: Admin, given: MailboxIn) -> MailboxView:
        """Poll a mailbox, beginning at once."""
        values = _values(given, mailboxes, None)
        try:
            async with database.begin() as tx:
                row = await store.insert(tx, principal.tenant_id, uuid.uuid4(), values)
        except store.TakenError as error:
            raise _taken() from error
        return _answer(response, row)

    @routes.get("/v1/mailboxes/{mailbox_id}", response_model=MailboxView, response_model_exclude_none=True)
    async def read_mailbox(response: Response, principal: Admin, mailbox_id: UUID) -> MailboxView:
        """One mailbox: how far it is read, and what is wrong, if anything."""
        return _answer(response, await _found(database, principal.tenant_id, mailbox_id))

    @routes.put(
        "/v1/mailboxes/{mailbox_id}",
        response_model=MailboxView,
        response_model_exclude_none=True,
        responses=problems(409),
    )
    async def change_mailbox(
        response: Response, principal: Admin, mailbox_id: UUID, version: IfMatch, given: MailboxIn
    ) -> MailboxView:
        """Change all of it; polled again at once, from the beginning if it is another mailbox now."""
        try:
            async with database.begin() as tx:
                row = await store.lock(tx, principal.tenant_id, mailbox_id)
                if row is None:
                    raise not_found("mailbox")
                if row["version"] != version:
                    raise stale()
                row = await store.update(tx, row, _values(given, mailboxes, row))
        except store.TakenError as error:
            raise _taken() from error
        return _answer(response, row)

    @routes.delete("/v1/mailboxes/{mailbox_id}", status_code=204, response_class=Response)
    async def delete_mailbox(principal: Admin, mailbox_id: UUID) -> Response:
        """Poll it no more; messages from it stay."""
        async with database.begin() as tx:
            if not await store.delete(tx, principal.tenant_id, mailbox_id):
                raise not_found("mailbox")
        return Response(status_code=204)

    @routes.post("/v1/mailboxes/{mailbox_id}/check", response_model=MailboxChecked, response_model_exclude_none=True)
    async def check_mailbox(principal: Admin, mailbox_id: UUID) -> MailboxChecked:
        """Connect, log in, open the folder: what is wrong with it, said so that somebody can mend it."""
        checked = await mailboxes.check(await _found(database, principal.tenant_id, mailbox_id))
        return MailboxChecked(
            ok=checked.problem is None, problem=checked.problem, detail=checked.detail, mails=checked.mails
        )

    return routes


async def _found(database: Database, tenant_id: str, mailbox_id: UUID) -> Record:
    row = await store.find(database, tenant_id, mailbox_id)
    if row is None:
        raise not_found("mailbox")
    return row


def _values(given: MailboxIn, mailboxes: Mailboxes, before: Record | None) -> dict[str, Any]:
    values = given.model_dump(exclude={"password"})
    values["address"] = given.address or given.username
    if given.password is not None:
        values["password"] = mailboxes.wrapped(given.password.get_secret_value())
    elif before is not None:
        values["password"] = before["password"]
    else:
        values["password"] = mailboxes.wrapped("")
    return values


def _answer(response: Response, row: Record) -> MailboxView:
    response.headers["ETag"] = etag(row["version"])
    return _view(row)


def _view(row: Record) -> MailboxView:
    if not row["active"]:
        state = "inactive"
    elif row["problem"] is not None:
        state = "failing"
    else:
        state = "ok" if row["succeeded_at"] is not None else "waiting"
    known = {name: row[name] for name in MailboxView.model_fields if name != "state"}
    return MailboxView(state=state, **known)


def _taken() -> Exception:
    return conflict("mailbox-exists", "Mailbox exists", "This mailbox of this server is polled already.")
