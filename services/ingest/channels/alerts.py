"""`POST /v1/alerts`: the webhook of Prometheus' Alertmanager (payload version 4).

One alert, told by its fingerprint, is one conversation. What Alertmanager repeats every few hours while nothing has
changed is one message; a new start or other annotations are a further message of the same ticket; recovery is one that
`resolves`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

import orjson
from fastapi import Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.ingest.archive import Archive
from services.ingest.channels.http import Submitter
from services.ingest.channels.submission import INLINE_PAYLOAD
from services.ingest.domain import Draft, Outcome, participant, thread_key
from services.ingest.intake import BusyError, Intake
from services.ingest.mail import charset
from services.ingest.mail.parse import MAX_SUBJECT
from services.ingest.store import messages as store
from shared.auth import Permission, forbidden
from shared.contracts import ids
from shared.contracts.decision import Impact, Urgency
from shared.contracts.directory import Role
from shared.contracts.message import Channel, Hints
from shared.db import Database
from shared.http import Router, correlation, traceparent
from shared.problem import unavailable

MOST = 1_000
"""Alerts of one request."""
BODY_BYTES = 8_000_000
_SHOWN = 4_000
"""Characters of one label or annotation in the ticket; the whole is in the original."""

Label = Annotated[str, StringConstraints(max_length=20_000)]
Labels = Annotated[dict[Annotated[str, StringConstraints(max_length=500)], Label], Field(max_length=200)]
Link = Annotated[str, StringConstraints(max_length=4_000)]

logger = logging.getLogger(__name__)

_SEVERITIES: Mapping[str, tuple[Impact, Urgency]] = {
    **dict.fromkeys(("critical", "page", "emergency", "fatal", "disaster", "p1"), (Impact.CRITICAL, Urgency.CRITICAL)),
    **dict.fromkeys(("error", "high", "major", "p2"), (Impact.MAJOR, Urgency.HIGH)),
    **dict.fromkeys(("warning", "medium", "average", "p3"), (Impact.MODERATE, Urgency.MEDIUM)),
    **dict.fromkeys(("info", "information", "notice", "low", "none", "p4"), (Impact.MINOR, Urgency.LOW)),
}
"""What people write into the label `severity`; others hint at nothing."""


class AlertIn(BaseModel):
    """One alert as Alertmanager sends it; what it may add later is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = Field(default_factory=dict)
    startsAt: Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 2, tzinfo=UTC))]  # noqa: N815 - their name
    endsAt: AwareDatetime | None = Field(None, description="Meaningless while it fires.")  # noqa: N815 - as above
    generatorURL: Link = ""  # noqa: N815 - as above
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,128}$")] | None = Field(
        None, description="Absent: made of the labels."
    )


class WebhookIn(BaseModel):
    """One notification of Alertmanager: alerts that it groups."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["4"] = "4"
    groupKey: Link = ""  # noqa: N815 - as above
    truncatedAlerts: Annotated[int, Field(ge=0)] = 0  # noqa: N815 - as above
    status: str = ""
    receiver: Annotated[str, StringConstraints(max_length=200)] = ""
    groupLabels: Labels = Field(default_factory=dict)  # noqa: N815 - as above
    commonLabels: Labels = Field(default_factory=dict)  # noqa: N815 - as above
    commonAnnotations: Labels = Field(default_factory=dict)  # noqa: N815 - as above
    externalURL: Link = ""  # noqa: N815 - as above
    alerts: Annotated[list[AlertIn], Field(min_length=1, max_length=MOST)]


class AlertTaken(BaseModel):
    """What became of one alert."""

    fingerprint: str
    status: str = Field(
        description="`accepted`; `duplicate`: told before; `ignored`: it has recovered and never fired here."
    )
    message_id: UUID | None = None
    conversation_id: UUID | None = None
    ticket_id: UUID | None = Field(None, description="The ticket it opens; absent when it continues one.")


class AlertsTaken(BaseModel):
    """One result for each alert, in their order."""

    accepted: int
    duplicate: int
    ignored: int
    truncated: int = Field(description="Alerts of the group that Alertmanager left out (its `max_alerts`).")
    results: list[AlertTaken]


@dataclass(frozen=True, slots=True)
class Alerts:
    """The channel."""

    database: Database
    archive: Archive
    intake: Intake

    async def take(
        self, tenant_id: str, account: str, webhook: WebhookIn, correlation: str, traceparent: str
    ) -> AlertsTaken:
        """Store what is new; after the commit. Raises the 503 problem when too much waits."""
        prints = [fingerprint_of(alert) for alert in webhook.alerts]
        firing = {one for one, alert in zip(prints, webhook.alerts, strict=True) if alert.status == "firing"}
        recovered = sorted(set(prints) - firing)
        known = await store.known_keys(self.database, tenant_id, [series(one) for one in recovered])
        outcomes: list[Outcome | None] = []
        drafts: list[Draft] = []
        places: list[int] = []
        for number, (one, alert) in enumerate(zip(prints, webhook.alerts, strict=True)):
            outcomes.append(None)
            if one in firing or series(one) in known:
                drafts.append(await self._draft(tenant_id, account, webhook, alert, one, correlation, traceparent))
                places.append(number)
        try:
            told = await self.intake.accept(drafts)
        except BusyError as error:
            raise unavailable("The intake is full and", 1) from error
        for number, outcome in zip(places, told, strict=True):
            outcomes[number] = outcome
        if webhook.truncatedAlerts:
            logger.warning("alerts were left out by their sender", extra={"count": webhook.truncatedAlerts})
        return _answer(prints, outcomes, webhook.truncatedAlerts)

    async def _draft(  # noqa: PLR0917 - all of one call
        self,
        tenant_id: str,
        account: str,
        webhook: WebhookIn,
        alert: AlertIn,
        fingerprint: str,
        correlation: str,
        traceparent: str,
    ) -> Draft:
        source = source_of(fingerprint, alert)
        payload = orjson.dumps(
            {
                **webhook.model_dump(mode="json", exclude={"alerts", "commonLabels", "commonAnnotations"}),
                "alerts": [alert.model_dump(mode="json")],
            }
        )
        original = None
        if len(payload) > INLINE_PAYLOAD:
            original = await self.archive.original(tenant_id, payload, "application/json")
        sender = webhook.receiver or "default"
        return Draft(
            tenant_id=tenant_id,
            message_id=ids.message_id(tenant_id, Channel.ALERT, source),
            channel=Channel.ALERT,
            # No mail address: nobody reads answers there.
            sender=participant(tenant_id, f"alertmanager:{sender}", f"Alertmanager ({sender})"),
            fingerprint=hashlib.sha256(source.encode()).digest(),
            submitter=account,
            subject=subject_of(alert),
            body=await self.archive.body(tenant_id, text_of(alert, webhook), None),
            original=original,
            payload=payload if original is None else None,
            external_id=source,
            series=series(fingerprint),
            resolves=alert.status == "resolved",
            hints=hints_of(alert),
            correlation=correlation,
            traceparent=traceparent,
        )


def router(alerts: Alerts) -> Router:
    """The one path."""
    routes = Router(tags=["alerts"])

    @routes.post("/v1/alerts", status_code=202, response_model=AlertsTaken, response_model_exclude_none=True)
    async def take_alerts(request: Request, principal: Submitter, webhook: WebhookIn) -> AlertsTaken:
        """The webhook to enter in Alertmanager, with an API key of the role `service` as its bearer token.

        Answered after everything is stored for good; repeating it is harmless.
        """
        if principal.role is Role.CUSTOMER:
            raise forbidden(Permission.TICKET_READ)
        return await alerts.take(
            principal.tenant_id, principal.account, webhook, correlation(request), traceparent(request)
        )

    return routes


def fingerprint_of(alert: AlertIn) -> str:
    """What tells the alert from all others: as given, else made of its labels."""
    if alert.fingerprint is not None:
        return alert.fingerprint
    return hashlib.sha256(orjson.dumps(dict(alert.labels), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def series(fingerprint: str) -> bytes:
    """The thread key of all that is told of one alert."""
    return thread_key("alert", fingerprint)


def source_of(fingerprint: str, alert: AlertIn) -> str:
    """What makes two notifications of an alert the same: when it began, and what is said of it while it fires."""
    began = alert.startsAt.astimezone(UTC).isoformat()
    if alert.status == "resolved":
        return f"{fingerprint}:{began}:resolved"
    said = hashlib.sha256(orjson.dumps(dict(alert.annotations), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return f"{fingerprint}:{began}:{said}"


def subject_of(alert: AlertIn) -> str:
    """The alert's name and its summary."""
    name = alert.labels.get("alertname", "")
    summary = alert.annotations.get("summary") or alert.annotations.get("title") or alert.annotations.get("message", "")
    subject = charset.one_line(": ".join(one for one in (name, summary) if one), MAX_SUBJECT)
    return subject or "Alert"


def text_of(alert: AlertIn, webhook: WebhookIn) -> str:
    """What a person needs to know, the most telling first."""
    said = dict(alert.annotations)
    lines = [f"{'FIRING' if alert.status == 'firing' else 'RESOLVED'}: {alert.labels.get('alertname', 'alert')}"]
    lines += [_shown(said.pop(name)) for name in ("summary", "description", "message") if said.get(name)]
    lines += ["", *(f"{name}: {_shown(value)}" for name, value in sorted(said.items()))] if said else []
    lines += ["", "Labels:", *(f"  {name} = {_shown(value)}" for name, value in sorted(alert.labels.items()))]
    lines += ["", f"Began: {alert.startsAt.isoformat()}"]
    if alert.status == "resolved" and alert.endsAt is not None:
        lines.append(f"Ended: {alert.endsAt.isoformat()}")
    lines += [f"{name}: {link}" for name, link in (("Source", alert.generatorURL), ("At", webhook.externalURL)) if link]
    if webhook.truncatedAlerts:
        lines += ["", f"[{webhook.truncatedAlerts} more alerts of this group were left out by their sender.]"]
    return charset.clean("\n".join(lines))


def hints_of(alert: AlertIn) -> Hints:
    """What the labels hint at."""
    labels = alert.labels
    severity = labels.get("severity", "").strip().lower()
    impact, urgency = _SEVERITIES.get(severity, (None, None))
    return Hints(
        product=_word(labels.get("product") or labels.get("service")),
        environment=_word(labels.get("environment") or labels.get("env")),
        impact=impact,
        urgency=urgency,
        tags=tuple(filter(None, ("alert", _word(labels.get("alertname"))))),
    )


def _word(value: str | None) -> str | None:
    return charset.one_line(value, 64) or None if value else None


def _shown(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]} […]"


def _answer(prints: Sequence[str], outcomes: Sequence[Outcome | None], truncated: int) -> AlertsTaken:
    results = [
        AlertTaken(fingerprint=one, status="ignored")
        if outcome is None
        else AlertTaken(
            fingerprint=one,
            status=outcome.status.value,
            message_id=outcome.message_id,
            conversation_id=outcome.conversation_id,
            ticket_id=outcome.ticket_id,
        )
        for one, outcome in zip(prints, outcomes, strict=True)
    ]
    counts = [result.status for result in results]
    return AlertsTaken(
        accepted=counts.count("accepted"),
        duplicate=counts.count("duplicate"),
        ignored=counts.count("ignored"),
        truncated=truncated,
        results=results,
    )
