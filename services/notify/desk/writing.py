"""A delivery into a mail, or the reason why there is none: whom it goes to, in which words, with which files.

Reads the replica, our own tables and the blob store; changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from services.notify.desk.known import Known, Notices, named
from services.notify.desk.links import Links
from services.notify.domain import letter, occasions
from services.notify.domain.letter import BadAddressError, File, Letter
from services.notify.domain.planning import State
from services.notify.domain.wording import Setting, values
from services.notify.store import languages, pages, people, threads
from services.notify.store.deliveries import RETRIED, Delivery
from shared.auth import mail_token
from shared.blobs import BlobMissingError, Blobs
from shared.contracts import ids
from shared.contracts.directory import PersonChanged, TenantChanged
from shared.db import Database
from shared.tasks import DeferError
from shared.templates import TemplateFailedError

PATIENCE = timedelta(seconds=60)
"""How long a person may be unknown: directory hears of requesters by their first message, within seconds."""
GIVE_UP = timedelta(days=5)
"""After which a mail that could not be handed over is given up (RFC 5321 §4.5.4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """There is nothing to send, and why."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What is handed to the server."""

    sender: str
    """Of the envelope; empty for the null return path."""
    recipient: str
    message_id: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _From:
    """Where mails of a tenant come from."""

    address: str
    domain: str
    answers: bool
    """Whether the desk takes mail there."""


class Writing:
    """Writes the mails of one service."""

    def __init__(self, database: Database, known: Known, links: Links, blobs: Blobs | None, master: bytes) -> None:
        self._database = database
        self._known = known
        self._links = links
        self._blobs = blobs
        self._token_key = mail_token.key_of(master)

    async def write(self, delivery: Delivery, now: datetime) -> Mail | Over:
        """The mail of a delivery that waits, or why there is none. Raises DeferError when it is too early to say."""
        facts = delivery.facts
        if facts is None or delivery.state not in {State.WAITING, State.SENDING, State.FAILED}:
            return Over(state=delivery.state, reason=delivery.reason or "over")
        over = await self._over(delivery, now)
        if over is not None:
            return over
        found = await self._known.notices([delivery.tenant_id])
        notices, tenant = (
            found[delivery.tenant_id],
            (await self._known.tenants([delivery.tenant_id])).get(delivery.tenant_id),
        )
        if not isinstance(notices, Notices) or tenant is None:
            raise DeferError("the tenant or its pack has not arrived", timedelta(seconds=5))
        parts = occasions.named_in(facts)
        known = await self._known.people({delivery.recipient_id, *parts.values()})
        reader = known.get(delivery.recipient_id)
        address = _reached_at(reader) or delivery.address
        if address is None:
            if reader is None and now < delivery.created_at + PATIENCE:
                raise DeferError("the person has not arrived", timedelta(seconds=1))
            return Over(state=State.FAILED, reason="no_address")
        template = notices.section.templates.get(delivery.template)
        if template is None:
            return Over(state=State.FAILED, reason="template")
        own, own_domain = await people.own_places(self._database, ids.normalise_address(address))
        if own or (own_domain and template.submitted == "auto-replied"):
            return Over(state=State.FAILED, reason="own_address")
        # Suppressed is an address, by the id that a requester would have there; an agent's own id may be another.
        for person in (delivery.recipient_id, ids.person_id(delivery.tenant_id, address)):
            if await self._known.suppressed(delivery.tenant_id, person, now) is not None:
                return Over(state=State.FAILED, reason="suppressed")
        return await self._mail(
            delivery, facts=facts, notices=notices, tenant=tenant, known=known, address=address, now=now
        )

    async def _over(self, delivery: Delivery, now: datetime) -> Over | None:
        if delivery.expires_at is not None and delivery.expires_at <= now:
            return Over(state=State.FAILED, reason="expired")
        asked_for = delivery.state is State.FAILED or delivery.reason == RETRIED
        if now >= delivery.created_at + GIVE_UP and not asked_for:
            return Over(state=State.FAILED, reason="exhausted")
        if delivery.page_id is not None:
            page = await pages.read(self._database, delivery.page_id)
            if page is not None and page.cancelled_at is not None:
                return Over(state=State.CANCELLED, reason="cancelled")
            if page is not None and page.answer is not None:
                return Over(state=State.CANCELLED, reason="answered")
        return None

    async def _mail(
        self,
        delivery: Delivery,
        *,
        facts: Mapping[str, Any],
        notices: Notices,
        tenant: TenantChanged,
        known: Mapping[UUID, PersonChanged],
        address: str,
        now: datetime,
    ) -> Mail | Over:
        section = notices.section
        submitted = section.templates[delivery.template].submitted
        reader = known.get(delivery.recipient_id)
        parts = {part: named(known.get(person)) for part, person in occasions.named_in(facts).items()}
        message: Mapping[str, Any] = facts.get("message", {})
        files: Sequence[File] = ()
        left_out: Sequence[str] = ()
        if submitted == "no":
            files, left_out = await self._files(delivery.tenant_id, message, section.attachments_bytes)
        sender_name = section.sender or tenant.name
        setting = Setting(
            recipient=named(reader),
            people=parts,
            desk_name=tenant.name,
            sender=sender_name,
            phone=section.phone or "",
            timezone=(reader.timezone if reader else None) or tenant.timezone,
            now=now,
            ticket_url=self._links.ticket(delivery.ticket_id),
            page_url=self._links.page(delivery.page_id) if delivery.page_id else "",
            survey_url=await self._survey(delivery, facts),
            text=await self._text(delivery.tenant_id, message),
            attached=message.get("files", ()),
            left_out=left_out,
        )
        spoken = facts["ticket"].get("language")
        if spoken is None:
            spoken = (await languages.known(self._database, [delivery.ticket_id])).get(delivery.ticket_id)
        wanted = (reader.language if reader else None, spoken, *tenant.languages)
        try:
            said = notices.say(delivery.template, wanted, values(facts, setting))
        except TemplateFailedError:
            return Over(state=State.FAILED, reason="template")
        origin = self._origin(tenant, facts["ticket"].get("inbound_address"))
        author = parts.get("author")
        identity = delivery.external_id or letter.message_id(delivery.id, origin.domain)
        thread = await threads.known_to(self._database, delivery.tenant_id, delivery.recipient_id, delivery.ticket_id)
        try:
            return Mail(
                # RFC 3834 §3.3: nobody's machine is to answer, or bounce, what a machine answered.
                sender="" if submitted == "auto-replied" else letter.address_of(origin.address),
                recipient=letter.address_of(address),
                message_id=identity,
                data=letter.compose(
                    Letter(
                        message_id=identity,
                        date=now,
                        sender_name=(author.name if author and submitted == "no" else "") or sender_name,
                        sender=origin.address,
                        recipient_name=named(reader).name,
                        recipient=address,
                        subject=said.subject,
                        number=facts["ticket"]["number"],
                        text=said.text,
                        html=said.html,
                        reply_to=self._reply_to(delivery, origin),
                        submitted=submitted,
                        references=[one.external_id for one in thread if one.external_id != identity],
                        delivery_id=delivery.id,
                        files=files,
                    )
                ),
            )
        except BadAddressError:
            return Over(state=State.FAILED, reason="no_address")

    def _origin(self, tenant: TenantChanged, written_to: str | None) -> _From:
        """The address that was written to, while it is the desk's; else the desk's first."""
        addresses = tenant.inbound_addresses
        if not addresses and written_to is not None and written_to.rpartition("@")[2] in tenant.mail_domains:
            addresses = (written_to,)  # of a desk that takes whatever is sent to its domains
        if addresses:
            address = written_to if written_to is not None and written_to in addresses else addresses[0]
            own = address.rpartition("@")[2]
            domain = own if own in tenant.mail_domains else next(iter(tenant.mail_domains), own)
            return _From(address=address, domain=domain, answers=True)
        # A desk without mail of its own still has people to page.
        host = urlsplit(self._links.ticket(UUID(int=0))).hostname or ""
        domain = host if "." in host and not host.replace(".", "").isdigit() else "localhost"
        return _From(address=f"deskwire@{domain}", domain=domain, answers=False)

    def _reply_to(self, delivery: Delivery, origin: _From) -> str | None:
        if not origin.answers:
            return None
        return mail_token.address(self._token_key, delivery.tenant_id, delivery.ticket_id, origin.domain)

    async def _survey(self, delivery: Delivery, facts: Mapping[str, Any]) -> str:
        """The survey's link, for the requester of a ticket just solved."""
        solved = "cycle" in facts and facts["ticket"].get("category") == "solved"
        if not solved or facts["people"].get("requester") != str(delivery.recipient_id):
            return ""
        if not await self._known.asks(delivery.tenant_id):
            return ""
        return self._links.survey(delivery.tenant_id, delivery.ticket_id, facts["cycle"], delivery.recipient_id)

    async def _text(self, tenant_id: str, message: Mapping[str, Any]) -> str:
        digest = message.get("text_blob")
        if digest is None:
            return str(message.get("text", ""))
        if self._blobs is None:
            raise DeferError("no blob store is configured", timedelta(minutes=1))
        return (await self._blobs.get(tenant_id, digest)).decode("utf-8", "replace")

    async def _files(
        self, tenant_id: str, message: Mapping[str, Any], most: int
    ) -> tuple[Sequence[File], Sequence[str]]:
        """The files that fit, in their order, and the names of the others."""
        files: list[File] = []
        left_out: list[str] = []
        room = most
        for file in message.get("files", ()):
            if self._blobs is None or file["size"] > room:
                left_out.append(letter.one_line(file["name"]))
                continue
            try:
                data = await self._blobs.get(tenant_id, file["sha256"])
            except BlobMissingError:
                left_out.append(letter.one_line(file["name"]))
                continue
            room -= len(data)
            files.append(File(name=file["name"], media_type=file["type"], data=data))
        return files, left_out


def _reached_at(person: PersonChanged | None) -> str | None:
    """The first mail address of a person who is still with us."""
    if person is None or not person.active:
        return None
    return next((address for address in person.addresses if "@" in address), None)
