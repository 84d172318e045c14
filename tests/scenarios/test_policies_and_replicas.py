"""What directory says reaches the others: packs in force, packs taken back, and a copy made again from the topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.seed import DEFAULT_PACK
from tests.support.desk import Desk
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

STRICT = "- {from: open, to: solved, guards: [assignee, resolution, root_cause]}"
LENIENT = "- {from: open, to: solved, guards: [assignee, resolution]}"


async def missing_to_solve(desk: Desk, ticket: str) -> list[str]:
    """What the workflow in force wants before this ticket is solved."""
    body = await desk.get(f"/v1/tickets/{ticket}/transitions")
    (solved,) = [one for one in body["transitions"] if one["to"] == "solved"]
    found: list[str] = solved["missing"]
    return found


async def test_a_pack_applied_is_in_force_within_seconds_and_rollback_takes_it_back(desk: Desk, folder: Path) -> None:
    ticket = await desk.open("Under which rules?")
    pack = folder / "strict.yaml"
    pack.write_text(DEFAULT_PACK.read_text().replace(LENIENT, STRICT))
    assert "root_cause" in await desk.cli("diff", str(pack), "--tenant", desk.tenant)
    assert await missing_to_solve(desk, ticket["id"]) == ["resolution"]
    assert "version 2 of pack default is in force" in await desk.cli("apply", str(pack), "--tenant", desk.tenant)

    async def strict() -> bool:
        return await missing_to_solve(desk, ticket["id"]) == ["resolution", "root_cause"]

    await eventually(strict, what="the new workflow in force")
    refused = await desk.move(ticket["id"], "solved", resolution="Done.")
    assert refused.status_code == 409
    assert "root cause" in refused.json()["detail"]

    assert "(version 1 again)" in await desk.cli("rollback", "--tenant", desk.tenant)

    async def lenient() -> bool:
        return await missing_to_solve(desk, ticket["id"]) == ["resolution"]

    await eventually(lenient, what="the old workflow in force again")
    assert (await desk.move(ticket["id"], "solved", resolution="Done.")).status_code == 200


async def test_a_bad_pack_is_refused_with_its_line_and_changes_nothing(desk: Desk, folder: Path) -> None:
    text = DEFAULT_PACK.read_text().replace(LENIENT, LENIENT.replace("to: solved", "to: nirvana"))
    pack = folder / "bad.yaml"
    pack.write_text(text)
    line = next(number for number, said in enumerate(text.splitlines(), 1) if "nirvana" in said)
    said = await desk.cli("apply", str(pack), "--tenant", desk.tenant, status=1)
    assert f"{pack}:{line}:" in said
    assert "nirvana" in said
    assert (await desk.get("/v1/policies", as_="manager"))["version"] == 1


async def test_a_pack_for_another_tenant_than_the_keys_is_refused(desk: Desk) -> None:
    said = await desk.cli("apply", str(DEFAULT_PACK), "--tenant", "somebody-else", status=1)
    assert f"this key belongs to the tenant {desk.tenant}" in said


async def test_a_service_without_its_copy_makes_it_again_from_the_topics(desk: Desk) -> None:
    before = await replicated(desk)
    assert {kind for kind, _ in before} >= {"tenant.changed", "person.changed", "policy.published"}
    assert await desk.installation.terminate("tickets") == 0
    await desk.installation.rows("tickets", "TRUNCATE replica, replica_offset")
    await desk.restart("tickets")
    assert await replicated(desk) == before
    opened = await desk.open("After the loss")

    async def owned() -> bool:
        return (await desk.ticket(opened["id"]))["assignee_id"] is not None

    await eventually(owned, what="an owner for the first ticket after it")


async def replicated(desk: Desk) -> dict[tuple[str, str], bytes]:
    """The copy that tickets keeps of this tenant: (topic, key) → content."""
    rows = await desk.installation.rows("tickets", "SELECT topic, key, event FROM replica WHERE event IS NOT NULL")
    return {(row["topic"], row["key"]): bytes(row["event"]) for row in rows if desk.tenant.encode() in row["event"]}
