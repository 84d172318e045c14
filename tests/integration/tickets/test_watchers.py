"""Who follows a ticket: people put in copy, people whom agents name; never our own addresses."""

from __future__ import annotations

import pytest

from services.tickets.domain.conversation import MAX_COPIED
from shared.contracts.directory import PersonChanged, Role
from tests.integration.tickets.conftest import OURS, Service, message, person, reply, ticket_id

pytestmark = pytest.mark.engines


async def test_people_in_copy_follow_and_may_read(service: Service) -> None:
    await service.tenant()
    first = message("rita", to=("carl", "rita"))
    await service.handle(first)
    ticket = ticket_id(first)
    assert (await service.state(ticket)).watcher_ids == (person("carl"),)
    created = (await service.published("ticket.created"))[0]
    assert created["ticket"]["watcher_ids"] == [str(person("carl"))]
    carl, tom = service.caller("carl", Role.CUSTOMER), service.caller("tom", Role.CUSTOMER)
    assert (await service.call(carl, "GET", f"/v1/tickets/{ticket}")).status_code == 200
    assert (await service.call(tom, "GET", f"/v1/tickets/{ticket}")).status_code == 404
    await service.handle(reply(first, "rita", to=("tom",)))
    assert (await service.call(tom, "GET", f"/v1/tickets/{ticket}")).status_code == 200


async def test_neither_our_own_address_nor_whom_a_machine_or_a_forger_names_follows(service: Service) -> None:
    await service.tenant()
    first = message("rita").model_copy(update={"recipients": (OURS,)})
    await service.handle(first)
    await service.handle(
        reply(first, "rita", to=("carl",), automatic=True), reply(first, "rita", to=("tom",), spoofed=True)
    )
    assert (await service.state(ticket_id(first))).watcher_ids == ()


async def test_a_mailing_list_in_copy_does_not_follow_as_a_whole(service: Service) -> None:
    await service.tenant()
    first = message("rita", to=tuple(f"p{n}" for n in range(MAX_COPIED + 30)))
    await service.handle(first)
    assert len((await service.state(ticket_id(first))).watcher_ids) == MAX_COPIED


async def test_agents_name_watchers_and_people_leave_by_themselves(service: Service) -> None:
    await service.tenant()
    await service.agent("ann", await service.team())
    carl = PersonChanged(
        tenant_id="acme", person_id=person("carl"), version=1, role=Role.CUSTOMER, addresses=("carl@example.org",)
    )
    await service.learn(carl)
    first = message("rita")
    await service.handle(first)
    ann, rita, himself = (
        service.caller("ann", Role.AGENT),
        service.caller("rita", Role.CUSTOMER),
        service.caller("carl", Role.CUSTOMER),
    )
    path = f"/v1/tickets/{ticket_id(first)}/watchers"
    for _ in range(2):
        added = await service.call(ann, "PUT", f"{path}/{person('carl')}")
        assert (added.status_code, added.json()["watcher_ids"]) == (200, [str(person("carl"))])
    assert len(await service.published("ticket.updated")) == 1, "twice is once"
    assert (await service.call(ann, "PUT", f"{path}/{person('nobody')}")).status_code == 422
    assert (await service.call(rita, "PUT", f"{path}/{person('rita')}")).status_code == 403
    assert (await service.call(rita, "DELETE", f"{path}/{person('carl')}")).status_code == 403
    left = await service.call(himself, "DELETE", f"{path}/{person('carl')}")
    assert (left.status_code, left.json()["watcher_ids"]) == (200, [])
    assert (await service.call(himself, "GET", f"/v1/tickets/{ticket_id(first)}")).status_code == 404
