"""The `desk` of a scenario: a tenant of its own in a running installation, with a key for each role.

Everything goes through the doors that users have: the console's origin, SMTP, the topics, the command line.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import smtplib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cache, partial
from typing import Any
from uuid import UUID, uuid4

import httpx2

from cli.seed import DEFAULT_PACK
from services.directory.commands.seed import seed
from services.directory.domain.pack_check import Pack, check
from shared.contracts import ids, manifest
from shared.db import Database
from tests.support.correspondence import Inbox, Phone
from tests.support.installation import Installation
from tests.support.tap import Fact, Tap
from tests.support.waiting import eventually

STAFF = {
    "admin": "admin",
    "manager": "mara",
    "lead": "leo",
    "agent": "ana",
    "other_agent": "ben",
    "specialist": "rika",
    "other_specialist": "tom",
}
"""Our name of each colleague → the local part of the address that `deskwire seed` gives them."""
CUSTOMER = "mia@acme.example"
ROLES = (*STAFF, "service", "customer")


@dataclass(frozen=True, slots=True)
class Mailed:
    """A mail that the listener answered."""

    code: int
    said: str
    header_id: str
    """Its Message-ID, to be answered by In-Reply-To."""

    @property
    def message_id(self) -> str:
        """What we call it; the listener says so with its 250."""
        assert self.code == 250, self.said
        return self.said.rsplit(maxsplit=1)[-1]


class Desk:
    """One tenant. Make it with `open_desk`."""

    def __init__(self, installation: Installation, tap: Tap, tenant: str) -> None:
        self.installation = installation
        self.tap = tap
        self.tenant = tenant
        self.support = f"support@{tenant}.example"
        self.keys: dict[str, str] = {}
        self.people: dict[str, UUID] = {}
        self.http = httpx2.AsyncClient(base_url=installation.origin, timeout=40.0, trust_env=False)

    async def close(self) -> None:
        """Hang up."""
        await self.http.aclose()

    # -- calls --------------------------------------------------------------------------------------------------

    async def call(self, method: str, path: str, *, as_: str | None = "agent", **given: Any) -> httpx2.Response:
        """Call the origin with the key of a role; `as_=None` shows none."""
        headers = dict(given.pop("headers", None) or {})
        if as_ is not None:
            headers.setdefault("Authorization", f"Bearer {self.keys[as_]}")
        return await self.http.request(method, path, headers=headers, **given)

    async def get(self, path: str, *, as_: str = "agent", **given: Any) -> Any:
        """What a GET answers, which must be 200."""
        return _content(await self.call("GET", path, as_=as_, **given), 200)

    async def post(self, path: str, body: Any, *, as_: str = "agent", status: int = 201, **headers: str) -> Any:
        """What a POST answers; `If_Match=` and the like are headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return _content(await self.call("POST", path, as_=as_, json=body, headers=named), status)

    # -- messages -----------------------------------------------------------------------------------------------

    async def message(
        self, subject: str = "Cannot log in", text: str = "It says no.", *, as_: str = "service", **given: Any
    ) -> dict[str, Any]:
        """Hand in one message through `POST /v1/messages`; the 202's content."""
        headers = {"Idempotency-Key": given.pop("key")} if "key" in given else {}
        sender = {"address": given.pop("sender", CUSTOMER), "name": given.pop("name", "Mia")}
        body = {"subject": subject, "text": text, "sender": sender, **given}
        answer: dict[str, Any] = _content(
            await self.call("POST", "/v1/messages", as_=as_, json=body, headers=headers), 202
        )
        return answer

    async def mail(
        self,
        subject: str = "Cannot log in",
        text: str = "It says no.",
        *,
        sender: str = CUSTOMER,
        to: Sequence[str] = (),
        header_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mailed:
        """Send a mail by SMTP; what the listener said."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to or [self.support]), subject
        mail["Message-ID"] = header_id or f"<{uuid4()}@{sender.rpartition('@')[2]}>"
        for name, value in (headers or {}).items():
            mail[name] = value
        mail.set_content(text)
        return await self.raw_mail(mail.as_bytes(), sender=sender, to=to, header_id=str(mail["Message-ID"]))

    async def raw_mail(self, data: bytes, *, sender: str, to: Sequence[str] = (), header_id: str = "") -> Mailed:
        """Send bytes as a mail by SMTP; what the listener said of the whole."""
        return await asyncio.to_thread(self._send, data, sender, list(to or [self.support]), header_id)

    def _send(self, data: bytes, sender: str, to: Sequence[str], header_id: str) -> Mailed:
        with smtplib.SMTP("127.0.0.1", self.installation.ports["smtp"], timeout=30) as smtp:
            smtp.ehlo("mail.example")
            smtp.mail(sender)
            for one in to:
                code, said = smtp.rcpt(one)
                if code != 250:
                    return Mailed(code, said.decode(), header_id)
            code, said = smtp.data(data)
            return Mailed(code, said.decode(), header_id)

    # -- tickets ------------------------------------------------------------------------------------------------

    async def ticket(self, reference: str, *, as_: str = "agent", within: float = 20.0) -> dict[str, Any]:
        """A ticket by id or number, once it is there."""

        async def there() -> dict[str, Any]:
            found: dict[str, Any] = _content(await self.call("GET", f"/v1/tickets/{reference}", as_=as_), 200)
            return found

        return await eventually(there, within=within, what=f"ticket {reference}")

    async def ticket_of(self, message_id: str) -> dict[str, Any]:
        """The ticket a message has come to, by the facts on the topics."""

        async def told() -> str:
            for topic in ("ticket.created", "ticket.message_added"):
                for fact in await self.events(topic):
                    if fact.data and fact.data["message"]["message_id"] == message_id:
                        return fact.key
            return ""

        return await self.ticket(await eventually(told, what=f"a fact about message {message_id}"))

    async def tickets(self, *, as_: str = "agent", **filters: Any) -> list[dict[str, Any]]:
        """Every ticket the role sees, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"limit": 200, **filters, **({"cursor": cursor} if cursor else {})}
            page = await self.get("/v1/tickets", as_=as_, params=params)
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def conversation(self, reference: str, *, as_: str = "agent") -> list[dict[str, Any]]:
        """A ticket's messages as the role sees them."""
        page = await self.get(f"/v1/tickets/{reference}/messages", as_=as_, params={"limit": 200})
        items: list[dict[str, Any]] = page["items"]
        return items

    async def move(self, reference: str, to: str, *, as_: str = "agent", **given: str) -> httpx2.Response:
        """Ask for a transition."""
        return await self.call("POST", f"/v1/tickets/{reference}/transitions", as_=as_, json={"to": to, **given})

    async def open(self, subject: str = "Cannot log in", **given: Any) -> dict[str, Any]:
        """A ticket opened by a customer's message."""
        return await self.ticket((await self.message(subject, **given))["ticket_id"])

    # -- people and clocks --------------------------------------------------------------------------------------

    def address(self, role: str) -> str:
        """The mail address of a role's person."""
        return f"{STAFF[role]}@{self.tenant}.example" if role in STAFF else CUSTOMER

    def inbox(self, address: str) -> Inbox:
        """The mails that reached an address."""
        return Inbox(self.installation, self.tenant, address)

    def phone(self, role: str) -> Phone:
        """The pages that reached a colleague."""
        return Phone(self.installation, self.tenant, self.address(role))

    async def clock(self, reference: str, name: str = "first_response") -> dict[str, Any]:
        """An SLA clock of a ticket as sla shows it, once there is one."""

        async def there() -> dict[str, Any]:
            shown = _content(await self.call("GET", f"/v1/tickets/{reference}/clocks", as_="manager"), 200)
            found: dict[str, Any] = next((one for one in shown["clocks"] if one["clock"] == name), {})
            return found

        return await eventually(there, within=60, what=f"the clock {name} of {reference}")

    async def owner(self, reference: str) -> str:
        """The role of the colleague whom the desk has given a ticket, once it has."""

        async def given() -> dict[str, Any]:
            ticket = await self.ticket(reference)
            return ticket if ticket["assignee_id"] else {}

        ticket = await eventually(given, within=60, what=f"an owner of {reference}")
        return next(role for role, person in self.people.items() if str(person) == ticket["assignee_id"])

    async def reply(self, reference: str, text: str = "We look into it.", *, as_: str) -> dict[str, Any]:
        """Answer the requester in public."""
        answer: dict[str, Any] = await self.post(f"/v1/tickets/{reference}/messages", {"text": text}, as_=as_)
        return answer

    async def on_call(self, role: str) -> None:
        """Put a colleague on call, for as long as nobody else is."""
        wanted = {
            "members": [str(self.people[role])],
            "starts_on": "2026-01-05",
            "handover": {"weekday": "monday", "time": "09:00"},
        }
        answer = await self.call("PUT", "/v1/schedules/primary", as_="lead", json=wanted)
        assert answer.status_code in {200, 201}, answer.text

    async def fact(self, topic: str, **wanted: Any) -> dict[str, Any]:
        """The content of the one fact with these values, once it is there; facts are told apart by their ids."""

        async def told() -> list[Fact]:
            return await self.events(topic, **wanted)

        facts = {one.id: one.data for one in await eventually(told, within=60, what=f"{topic} with {wanted}")}
        (data,) = facts.values()
        assert data is not None
        return data

    # -- topics and the whole -----------------------------------------------------------------------------------

    async def events(self, topic: str, **wanted: Any) -> list[Fact]:
        """This tenant's facts on a topic, of all committed by now; only those whose fields have the values wanted."""
        await self.installation.published(manifest.topic(topic).owner)
        facts = await self.tap.facts(topic, self.tenant)
        return [fact for fact in facts if all((fact.data or {}).get(name) == value for name, value in wanted.items())]

    async def forward(self, *, minutes: float) -> None:
        """Move the test clock of the whole installation on."""
        await self.installation.forward(f"{minutes:g}m")

    async def quiet(self, *, without: Sequence[str] = ()) -> None:
        """Wait until nothing is left to be done before the clock moves or somebody acts."""
        await self.installation.quiet(without=without)

    def kill(self, service: str) -> None:
        """SIGKILL the process of a service."""
        self.installation.kill(service)

    async def restart(self, service: str) -> None:
        """Start the process of a service again; returns when it is ready."""
        await self.installation.restart(service)

    async def cli(self, *arguments: str, as_: str = "admin", status: int = 0) -> str:
        """Run `deskwire` with the key of a role."""
        return await self.installation.cli(*arguments, status=status, told={"DESKWIRE_API_KEY": self.keys[as_]})


async def open_desk(installation: Installation, tap: Tap, name: str = "desk") -> Desk:
    """A new tenant as `deskwire seed` makes it, with keys known to every service."""
    desk = Desk(installation, tap, f"{name}-{secrets.token_hex(3)}")
    database = await Database.connect(installation.database_url("directory"), application="scenario", max_size=1)
    try:
        async with database.begin() as tx:
            made = await seed(tx, _default_pack(), datetime.now(UTC), tenant_id=desk.tenant, name=desk.tenant)
    finally:
        await database.close()
    desk.keys = {"admin": made.administrator_key or "", "service": made.machine_key or ""}
    await eventually(partial(_is_known, desk, "admin"), what="the administrator's key")
    person = {"name": "Mia", "addresses": [CUSTOMER], "role": "customer"}
    await desk.post("/v1/people", person, as_="admin")
    for role in ROLES:
        local = STAFF.get(role)
        address = f"{local}@{desk.tenant}.example" if local else CUSTOMER
        desk.people[role] = made.machine_id if role == "service" else ids.person_id(desk.tenant, address)
        if role not in desk.keys:
            wanted = {"person_id": str(desk.people[role]), "name": role}
            desk.keys[role] = (await desk.post("/v1/api-keys", wanted, as_="admin"))["key"]
    for role in desk.keys:
        await eventually(partial(_is_known, desk, role), what=f"the key of {role}")
    await eventually(partial(_takes_mail, desk), what=f"the inbound address {desk.support}")
    return desk


async def _is_known(desk: Desk, role: str) -> bool:
    """Whether every service takes the key, and tickets has the tenant's workflow."""
    missing = uuid4()
    paths = (f"/v1/people/{missing}", f"/v1/tickets/{missing}/transitions", f"/v1/messages/{missing}")
    answers = await asyncio.gather(*(desk.call("GET", path, as_=role) for path in paths))
    return all(answer.status_code == 404 for answer in answers)


async def _takes_mail(desk: Desk) -> bool:
    (found,) = await desk.installation.rows(
        "ingest", "SELECT count(*) AS rows FROM inbound WHERE tenant_id = $1", desk.tenant
    )
    return bool(found["rows"])


@cache
def _default_pack() -> Pack:
    return check(DEFAULT_PACK.read_text(encoding="utf-8"))


def _content(answer: httpx2.Response, status: int) -> Any:
    """The content of an answer that must have this status."""
    assert answer.status_code == status, (
        f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    )
    return json.loads(answer.content) if answer.content else None
