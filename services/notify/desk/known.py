"""What others told: packs with their templates compiled once per publication, people, teams, tenants, suppressions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import ValidationError

from services.notify.domain.wording import Person, choose
from shared.contracts.directory import PersonChanged, PolicyPublished, TeamChanged, TenantChanged
from shared.contracts.notification import SuppressionChanged
from shared.contracts.pack import Satisfaction
from shared.contracts.pack.notifications import Notifications
from shared.db import Tx
from shared.explain import explain
from shared.replica import Replica
from shared.templates import Compiled, TemplateFailedError, Value

_Version = tuple[object, ...]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """A section that has not arrived; its key is what is waited for."""

    key: str


@dataclass(frozen=True, slots=True)
class Said:
    """A template filled in."""

    subject: str
    text: str
    html: str | None
    language: str


@dataclass(slots=True)
class Notices:
    """A tenant's section, with what was compiled of it so far."""

    section: Notifications
    _compiled: dict[tuple[str, str, str], Compiled] = field(default_factory=dict)

    def say(self, template: str, wanted: Iterable[str | None], values: dict[str, Value], *, mail: bool = True) -> Said:
        """Fill a template in, in the first language wanted that it has. Raises TemplateFailedError."""
        found = self.section.templates.get(template)
        if found is None:
            msg = "no such template in force"
            raise TemplateFailedError(msg)
        language, words = choose(found, (*wanted, self.section.language))
        html = words.html if mail else None
        return Said(
            subject=self._of(template, language, "subject", words.subject).fill(values),
            text=self._of(template, language, "text", words.text).fill(values),
            html=self._of(template, language, "html", html).fill(values) if html else None,
            language=language,
        )

    def _of(self, template: str, language: str, part: str, source: str) -> Compiled:
        key = (template, language, part)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = Compiled(source, html=part == "html")
        return found


class Known:
    """Reads the replica; sections are remembered by the publication they come from."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._notices: dict[str, tuple[_Version, Notices]] = {}

    async def notices(self, tenants: Iterable[str], tx: Tx | None = None) -> dict[str, Notices | Missing]:
        """Each tenant's section, or what has not arrived."""
        wanted = list(dict.fromkeys(tenants))
        keys = [f"{tenant}/{Notifications.SECTION}" for tenant in wanted]
        published = await self._replica.get_many(PolicyPublished, keys, tx=tx)
        return {tenant: self._of(tenant, published.get(key)) for tenant, key in zip(wanted, keys, strict=True)}

    def _of(self, tenant: str, event: PolicyPublished | None) -> Notices | Missing:
        if event is None:
            return Missing(f"{tenant}/{Notifications.SECTION}")
        version = (event.pack, event.pack_version, event.published_at)
        known = self._notices.get(tenant)
        if known is not None and known[0] == version:
            return known[1]
        try:
            notices = Notices(Notifications.model_validate(event.document))
        except ValidationError as error:
            # Of a later release, say: facts wait for one that can read it, or go by what was known before.
            logger.error("section of a pack cannot be read", tenant=tenant, reason=explain(error))
            return known[1] if known is not None else Missing(event.policy_key)
        self._notices[tenant] = (version, notices)
        return notices

    async def asks(self, tenant: str) -> bool:
        """Whether the tenant asks what requesters think."""
        event = await self._replica.get(PolicyPublished, f"{tenant}/{Satisfaction.SECTION}")
        if event is None:
            return False
        try:
            return Satisfaction.model_validate(event.document).enabled
        except ValidationError:
            return False

    async def tenants(self, tenants: Iterable[str], tx: Tx | None = None) -> dict[str, TenantChanged]:
        """Those that directory has told of."""
        return await self._replica.get_many(TenantChanged, list(dict.fromkeys(tenants)), tx=tx)

    async def people(self, person_ids: Iterable[UUID], tx: Tx | None = None) -> dict[UUID, PersonChanged]:
        """Those that directory has told of; requesters follow their first message within seconds."""
        found = await self._replica.get_many(PersonChanged, list(dict.fromkeys(person_ids)), tx=tx)
        return {person.person_id: person for person in found.values()}

    async def leads(self, team_ids: Iterable[UUID], tx: Tx | None = None) -> dict[UUID, UUID]:
        """The lead of each team that has one."""
        found = await self._replica.get_many(TeamChanged, list(dict.fromkeys(team_ids)), tx=tx)
        return {team.team_id: team.lead_id for team in found.values() if team.lead_id is not None and team.active}

    async def suppressed(self, tenant: str, person_id: UUID, now: datetime) -> str | None:
        """Why a person is not written to now, or None."""
        event = await self._replica.get(SuppressionChanged, f"{tenant}/{person_id}")
        if event is None or (event.until is not None and event.until <= now):
            return None
        return str(event.reason)


def named(person: PersonChanged | None) -> Person:
    """A person as templates name them; of an address made into a name nothing is told."""
    if person is None:
        return Person()
    return Person(name="" if "@" in person.name else person.name, organisation=person.organisation or "")
