"""The main story of a ticket, told by those who live it: requesters, agents, leads, and the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.correspondence import follow, link_in
from tests.support.desk import CUSTOMER, Desk
from tests.support.packs import ANSWER_WITHIN, PATIENT, UNHURRIED, apply
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]

A_WEEK = 7 * 24 * 60
SPANISH = (
    "Buenos días: desde ayer el informe mensual se queda en preparando y nunca termina. Lo necesitamos para el cierre"
    " del jueves. Un saludo, Marta Iglesias"
)


async def emergency(desk: Desk, subject: str = "EMERGENCY: complete outage, data loss") -> dict[str, Any]:
    """A mail that nobody has to be asked about."""
    sent = await desk.mail(subject, "All systems are down for all our customers, and last night's bookings are lost.")
    return await desk.ticket_of(sent.message_id)


async def becomes(desk: Desk, ticket: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """The ticket once these fields are so."""

    async def so() -> dict[str, Any]:
        now = await desk.ticket(ticket["id"])
        assert {name: now[name] for name in wanted} == wanted
        return now

    return await eventually(so, within=60, what=f"{ticket['number']} with {wanted}")


async def test_a_spanish_mail_comes_to_the_queue_of_its_language_and_an_agent_who_serves_it(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder, PATIENT)
    sent = await desk.mail("El informe mensual no se genera", SPANISH, sender="marta@viajes-aurora.example")
    ticket = await becomes(desk, await desk.ticket_of(sent.message_id), language="es", queue="spanish")
    assert await desk.owner(ticket["id"]) in {"agent", "other_agent"}, "Ana and Ben are the language team, Leo is not"
    acknowledgement = "Hemos recibido su solicitud: El informe mensual"
    await desk.inbox("marta@viajes-aurora.example").expects(subject=acknowledgement, about=ticket["number"])


async def test_an_emergency_climbs_from_agent_to_lead_to_manager_until_somebody_takes_it(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder, UNHURRIED)
    await desk.on_call("agent")
    ticket = await emergency(desk)
    await desk.phone("agent").expects(ticket, step="step 1 of 4, agent")
    await desk.inbox(CUSTOMER).expects(subject="URGENT: Service Incident", about=ticket["number"])
    await desk.quiet()
    await desk.forward(minutes=14)
    await desk.phone("lead").stays_silent(ticket)
    await desk.forward(minutes=1)
    await desk.phone("lead").expects(ticket, step="step 2 of 4, team_lead")
    await desk.quiet()
    await desk.forward(minutes=15)
    await desk.phone("manager").expects(ticket, step="step 3 of 4, manager")
    await desk.quiet()
    await desk.phone("manager").acknowledge(ticket)
    taken = await desk.fact("escalation.acknowledged", ticket_id=ticket["id"])
    assert (taken["step"], taken["person_id"], taken["via"]) == (3, str(desk.people["manager"]), "page")
    await desk.quiet()
    assert "not needed any more" in await desk.phone("lead").shows(ticket)
    await desk.forward(minutes=60)
    await desk.phone("admin").stays_silent(ticket)
    await desk.phone("manager").stays_silent(ticket, step="step 3", after=1)


async def test_a_declined_page_calls_the_next_at_once_and_without_a_rota_the_team_is_called(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder, UNHURRIED)
    nobody_on_call = await emergency(desk)
    step = await desk.fact("escalation.stepped", ticket_id=nobody_on_call["id"], name="agent")
    assert step["targets"], "somebody is called all the same"
    assert {one["via"] for one in step["targets"]} <= {"assignee", "queue_team"}
    await desk.quiet()
    await desk.on_call("other_agent")
    ticket = await emergency(desk, "EMERGENCY: the second site is down too")
    await desk.phone("other_agent").expects(ticket, step="agent")
    await desk.quiet()
    await desk.phone("lead").stays_silent(ticket, step="team_lead")
    await desk.phone("other_agent").decline(ticket)
    await desk.phone("lead").expects(ticket, step="team_lead")
    stepped = await desk.fact("escalation.stepped", ticket_id=ticket["id"], name="team_lead")
    assert stepped["cause"] == "declined"


async def test_a_clock_warns_then_breaches_at_its_instant_and_a_merged_tickets_clocks_end(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder)
    ticket, twin = await desk.open("Where is my order?"), await desk.open("Where is my order, please?")
    due = (await desk.clock(ticket["id"]))["due_at"]
    await desk.clock(twin["id"])
    await desk.post(f"/v1/tickets/{twin['id']}/merge", {"into": ticket["id"], "reason": "Twice."}, status=200)
    ended = await desk.fact("sla.changed", ticket_id=twin["id"], clock="first_response", change="ended")
    assert ended["reason"] == "merged"
    await desk.quiet()
    await desk.forward(minutes=11)
    await desk.quiet()
    assert await desk.events("sla.warning", ticket_id=ticket["id"]) == [], "more than a fifth is left"
    await desk.forward(minutes=1.5)
    warning = await desk.fact("sla.warning", ticket_id=ticket["id"])
    assert warning["target_minutes"] == ANSWER_WITHIN
    await desk.phone("lead").stays_silent(ticket)
    await desk.forward(minutes=2.5)
    assert (await desk.fact("sla.breached", ticket_id=ticket["id"]))["breached_at"] == due
    await desk.phone("lead").expects(ticket)
    await desk.quiet()
    shown = await desk.clock(ticket["id"])
    assert (shown["state"], shown["breached_at"], shown["provisional"]) == ("breached", due, False)
    explained = await desk.get(f"/v1/tickets/{ticket['id']}/clocks/first_response/explain", as_="manager")
    assert explained["due_at"] == due
    assert await desk.events("sla.breached", ticket_id=twin["id"]) == []


async def test_a_watcher_gets_the_answer_and_a_declined_handover_leaves_the_ticket_where_it_is(desk: Desk) -> None:
    watcher = "wim@acme.example"
    person = await desk.post("/v1/people", {"name": "Wim", "addresses": [watcher], "role": "customer"}, as_="admin")
    ticket = await desk.open("The invoice is wrong")
    owner = await desk.owner(ticket["id"])
    colleague = next(role for role in ("agent", "other_agent", "specialist") if role != owner)
    await desk.quiet()
    path = f"/v1/tickets/{ticket['id']}"
    watching = await desk.call("PUT", f"{path}/watchers/{person['person_id']}", as_=owner)
    assert watching.status_code == 200, watching.text
    await desk.reply(ticket["id"], "It has been corrected.", as_=owner)
    for address in (CUSTOMER, watcher):
        await desk.inbox(address).expects(subject="Re: The invoice is wrong", about=ticket["number"])
    asked = await desk.post(f"{path}/transfers", {"to": str(desk.people[colleague]), "note": "Tax?"}, as_=owner)
    await desk.inbox(desk.address(colleague)).expects(subject="asks you to take", about=ticket["number"])
    said = await desk.call("POST", f"/v1/transfers/{asked['id']}/decline", as_=colleague, json={})
    assert said.status_code == 200, said.text
    declined = await desk.fact("ticket.transfer_changed", ticket_id=ticket["id"], state="declined")
    assert declined["ticket"]["assignee_id"] == str(desk.people[owner])
    assert (await desk.ticket(ticket["id"]))["assignee_id"] == str(desk.people[owner])
    late = await desk.call("POST", f"/v1/transfers/{asked['id']}/accept", as_=colleague, json={})
    assert late.status_code == 409, "it was declined"


async def test_a_survey_counts_once_a_reply_reopens_and_silence_closes_after_a_week(desk: Desk) -> None:
    quiet, again = await desk.open("How do I export?"), await desk.open("The label is cut off")
    for ticket in (quiet, again):
        owner = await desk.owner(ticket["id"])
        await desk.reply(ticket["id"], "Like this.", as_=owner)
        assert (await desk.move(ticket["id"], "solved", as_=owner, resolution="Shown.")).status_code == 200
    solved = await desk.inbox(CUSTOMER).expects(subject="Has Been Resolved", about=quiet["number"])
    await follow(solved, "/v1/surveys/", score="5", comment="Quick.")
    rated = await desk.fact("ticket.rated", ticket_id=quiet["id"])
    assert (rated["score"], rated["comment"]) == (5, "Quick.")
    await desk.quiet()
    await desk.forward(minutes=61)
    async with httpx2.AsyncClient(timeout=40.0, trust_env=False) as browser:
        second = await browser.post(link_in(solved, "/v1/surveys/"), data={"score": "1"})
    assert second.status_code == 409, "an hour later the answer stands"
    told = await desk.inbox(CUSTOMER).expects(subject="Has Been Resolved", about=again["number"])
    await desk.forward(minutes=A_WEEK / 2)
    reply = {"In-Reply-To": told["headers"]["message-id"]}
    back = await desk.mail(f"Re: {told['subject']}", "It is cut off again.", headers=reply)
    assert (await desk.ticket_of(back.message_id))["id"] == again["id"]
    assert (await becomes(desk, again, cycle=2))["category"] == "open"
    await desk.quiet()
    assert (await desk.ticket(quiet["id"]))["status"] == "solved"
    await desk.forward(minutes=A_WEEK / 2)
    closed = await becomes(desk, quiet, status="closed")
    assert closed["cycle"] == 1
    await desk.quiet()
    assert (await desk.ticket(again["id"]))["category"] != "closed"
    ratings = {one.id: (one.data or {})["score"] for one in await desk.events("ticket.rated", ticket_id=quiet["id"])}
    assert list(ratings.values()) == [5]
