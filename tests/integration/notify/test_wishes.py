"""What people want to be told of, and what they find in the application."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.contracts import ids
from shared.contracts.decision import TicketTransferChanged
from shared.contracts.sla import SlaBreached
from shared.contracts.ticket import TicketAssigned
from tests.integration.notify.mail_facts import ANA, LEO, TEAM, paged, summary
from tests.integration.notify.mail_ground import Ground

pytestmark = pytest.mark.engines

_ANA, _LEO = ids.person_id("acme", ANA), ids.person_id("acme", LEO)


def breached(**changes: Any) -> SlaBreached:
    ticket = summary(assignee_id=str(_ANA), team_id=str(TEAM))
    return SlaBreached.model_validate(
        {
            "tenant_id": "acme",
            "ticket_id": str(ticket.ticket_id),
            "ticket": ticket.model_dump(mode="json"),
            "clock": "first_response",
            "cycle": 1,
            "target_minutes": 15,
            "calendar": "24x7",
            "policy_version": 1,
            "based_on_version": 2,
            "breached_at": datetime.now(UTC).isoformat(),
            **changes,
        }
    )


def assigned(actor: UUID | None = None) -> TicketAssigned:
    ticket = summary(assignee_id=str(_ANA))
    return TicketAssigned.model_validate(
        {
            "tenant_id": "acme",
            "ticket_id": str(ticket.ticket_id),
            "ticket": ticket.model_dump(mode="json"),
            "actor": {"kind": "person", "id": str(actor)} if actor else {"kind": "service", "id": "tickets"},
            "assignee_id": str(_ANA),
            "queue": "tier1",
            "reason": "least_loaded",
        }
    )


async def put(mails: Ground, body: dict[str, Any], who: str = "agent", version: int = 0, **params: str) -> Any:
    return await mails.call(
        "PUT", "/v1/notifications/preferences", who, json=body, params=params, headers={"If-Match": f'"{version}"'}
    )


async def test_an_assignment_is_shown_to_the_agent_unless_it_was_their_own_doing(mails: Ground) -> None:
    await mails.tell(assigned(), assigned(actor=_ANA))
    await mails.settled(1)
    shown = (await mails.call("GET", "/v1/notifications/notices", "agent")).json()["items"]
    assert [one["title"] for one in shown] == ["INC-2026-000001 is yours: Drucker am Tor 4 – nichts geht mehr"]
    assert (await mails.call("GET", "/v1/notifications/notices", "lead")).json()["items"] == []
    marked = await mails.call("POST", "/v1/notifications/notices/read", "agent", json={"ids": [shown[0]["id"]]})
    assert marked.json() == {"marked": 1}
    unread = await mails.call("GET", "/v1/notifications/notices", "agent", params={"unread": True})
    assert unread.json()["items"] == []


async def test_a_breach_reaches_assignee_and_lead_by_mail_and_in_the_application(mails: Ground) -> None:
    await mails.tell(breached())
    found = await mails.settled(4)
    assert {(one.recipient_id, one.channel) for one in found} == {
        (person, channel) for person in (_ANA, _LEO) for channel in ("email", "app")
    }
    (mail,) = await mails.mailed(LEO)
    assert mail["Subject"] == "SLA breached: first response of [INC-2026-000001]"
    assert mail["Auto-Submitted"] == "auto-generated"


async def test_who_does_not_want_mails_of_a_kind_gets_none_of_it_but_pages_always(mails: Ground) -> None:
    wanted = {"templates": {"sla_breach": {"email": False}, "page": {"email": False}}}
    assert (await put(mails, wanted)).status_code == 200
    await mails.tell(breached(), paged())
    await mails.settled(6)
    assert [mail["Subject"][:4] for mail in await mails.mailed(ANA)] == ["PAGE"]
    assert {one.reason for one in await mails.deliveries(state="skipped")} == {"not_wanted"}
    await mails.mailed(LEO)


async def test_quiet_hours_put_mails_off_until_they_are_over_but_no_page(mails: Ground) -> None:
    now = datetime.now(UTC)
    begins, ends = now - timedelta(hours=1), now + timedelta(hours=1)
    quiet = {"begins": f"{begins:%H:%M}", "ends": f"{ends:%H:%M}", "timezone": "UTC"}
    assert (await put(mails, {"quiet_hours": quiet})).status_code == 200
    await mails.tell(breached(), paged())
    await mails.mailed(ANA)
    # Leo, who has no quiet hours, has his at once.
    await mails.mailed(LEO)
    (waiting,) = [one for one in await mails.deliveries(state="waiting") if one.recipient_id == _ANA]
    assert waiting.template == "sla_breach"
    await mails.forward(minutes=61)
    await mails.mailed(ANA, 2)


async def test_preferences_are_ones_own_or_a_colleagues_for_a_lead(mails: Ground) -> None:
    assert (await put(mails, {}, "agent", person_id=str(_LEO))).status_code == 403
    assert (await put(mails, {}, "stranger", person_id=str(_ANA))).status_code == 404
    changed = await put(mails, {"templates": {"assignment": {"app": False}}}, "lead", person_id=str(_ANA))
    assert (changed.status_code, changed.headers["etag"]) == (200, '"1"')
    read = await mails.call("GET", "/v1/notifications/preferences", "agent")
    assert read.json() == {"templates": {"assignment": {"app": False}}, "quiet_hours": None}
    assert (await put(mails, {}, "agent", 0)).status_code == 412
    assert (await put(mails, {}, "agent", 1)).status_code == 200
    for wrong in (
        {"quiet_hours": {"begins": "22:00", "ends": "07:00", "timezone": "Mars/Olympus"}},
        {"quiet_hours": {"begins": "25:00", "ends": "07:00", "timezone": "UTC"}},
        {"templates": {"page": {"sms": True}}},
        {"unknown": 1},
    ):
        assert (await put(mails, wrong, "agent", 2)).status_code == 422


async def test_who_is_asked_to_take_a_ticket_is_told_who_asks(mails: Ground) -> None:
    asked = TicketTransferChanged.model_validate(
        {
            "tenant_id": "acme",
            "ticket_id": str(summary().ticket_id),
            "ticket": summary(assignee_id=str(_ANA)).model_dump(mode="json"),
            "actor": {"kind": "person", "id": str(_ANA)},
            "transfer_id": str(UUID(int=9)),
            "state": "requested",
            "from_id": str(_ANA),
            "to_id": str(_LEO),
            "note": "You know this printer.",
        }
    )
    await mails.tell(asked)
    (mail,) = await mails.mailed(LEO)
    assert mail["Subject"] == "Ana Alvarez asks you to take [INC-2026-000001]"
    assert "You know this printer." in mail.get_content()


async def test_writers_of_packs_see_what_readers_will_and_where_a_mistake_stands(mails: Ground) -> None:
    shown = await mails.call("POST", "/v1/notifications/preview", json={"template": "resolution", "language": "de"})
    assert shown.status_code == 200, shown.text
    assert shown.json()["subject"] == "Ihre Anfrage ist gelöst [INC-2026-000123]"
    assert "A new cable." in shown.json()["text"]
    words = {"subject": "{{ ticket.number }}", "text": "Hello\n{{ ticket.nmber }}"}
    refused = await mails.call("POST", "/v1/notifications/preview", json={"words": words})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/words/text"
    assert error["detail"].startswith("line 2 of the template")
    assert (await mails.call("POST", "/v1/notifications/preview", json={"template": "none"})).status_code == 404
    assert (await mails.call("POST", "/v1/notifications/preview", "customer", json={})).status_code == 403
