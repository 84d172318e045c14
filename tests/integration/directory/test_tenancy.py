"""Tenants and organisations over the API: who makes them, what they take along."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.directory.commands import tenancy as tenancy_commands
from services.directory.tasks import once
from shared import waiting
from shared.waiting import Waiting
from tests.integration.directory.conftest import Directory

pytestmark = pytest.mark.engines


async def test_people_of_a_verified_domain_get_organisation_and_tier(directory: Directory) -> None:
    await directory.tenant("acme")
    early = (
        await directory.call(
            "acme/admin", "POST", "/v1/people", {"name": "Mia", "addresses": ["mia@big.example"], "role": "customer"}
        )
    ).json()
    made = await directory.call(
        "acme/admin",
        "POST",
        "/v1/organisations",
        {"name": "Big", "tier": "enterprise", "domains": ["@BIG.example"]},
    )
    assert made.status_code == 201
    now = (await directory.call("acme/admin", "GET", f"/v1/people/{early['person_id']}")).json()
    assert (now["organisation"], now["tier"], now["version"]) == ("Big", "enterprise", 2)
    late = await directory.call(
        "acme/admin", "POST", "/v1/people", {"name": "Max", "addresses": ["max@big.example"], "role": "customer"}
    )
    assert late.json()["tier"] == "enterprise"
    clash = await directory.call(
        "acme/admin", "POST", "/v1/organisations", {"name": "Other", "domains": ["big.example"]}
    )
    assert clash.status_code == 409


async def test_a_large_organisations_change_reaches_everybody_in_slices(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy_commands, "SLICE", 3)
    await directory.tenant("acme")
    organisation = (
        await directory.call(
            "acme/admin", "POST", "/v1/organisations", {"name": "Big", "tier": "standard", "domains": ["big.example"]}
        )
    ).json()
    for number in range(10):
        body = {"name": "C", "addresses": [f"c{number}@big.example"], "role": "customer"}
        assert (await directory.call("acme/admin", "POST", "/v1/people", body)).status_code == 201
    await directory.forget()
    path = f"/v1/organisations/{organisation['organisation_id']}"
    answer = await directory.call("acme/admin", "PATCH", path, {"tier": "enterprise"}, match=1)
    assert answer.status_code == 200
    await once(directory.database, lambda: None)
    told = await directory.published("person.changed")
    assert len({event["person_id"] for event in told if event}) == len(told) == 10
    assert {event["tier"] for event in told if event} == {"enterprise"}


async def test_a_tenant_is_made_by_the_operator_alone(directory: Directory) -> None:
    await directory.tenant("home", operator=True)
    await directory.tenant("acme")
    body = {
        "tenant_id": "fresh",
        "name": "Fresh",
        "inbound_addresses": ["help@fresh.example"],
        "administrator": {"name": "Fay", "address": "fay@fresh.example"},
    }
    assert (await directory.call("acme/admin", "POST", "/v1/tenants", body)).status_code == 403
    made = await directory.call("home/admin", "POST", "/v1/tenants", body)
    assert made.status_code == 201
    me = await directory.call(made.json()["administrator_key"], "GET", "/v1/people/me")
    assert (me.json()["tenant_id"], me.json()["role"]) == ("fresh", "admin")
    twice = await directory.call("home/admin", "POST", "/v1/tenants", body)
    assert twice.status_code == 409
    stolen = {"inbound_addresses": ["help@fresh.example"]}
    assert (await directory.call("acme/admin", "PATCH", "/v1/tenants/acme", stolen, match=1)).status_code == 409


async def test_making_a_tenant_wakes_the_messages_that_waited_for_it(directory: Directory) -> None:
    event = Waiting(
        key="k",
        topic="message.received",
        partition=0,
        offset=0,
        record_ms=0,
        payload=b"{}",
        headers=b"0[]",
        reason="not_yet",
        missing_kind="tenant",
        missing_id="acme",
    )
    async with directory.database.begin() as tx:
        await waiting.append(tx, "directory", [event, replace(event, key="other", offset=1, missing_id="somebody")])
    await directory.rows("UPDATE waiting SET due_at = now() + interval '1 hour'")
    await directory.tenant("acme")
    due = await directory.rows("SELECT key FROM waiting WHERE due_at <= now()")
    assert [row["key"] for row in due] == ["k"]


async def test_a_suspended_tenants_keys_are_withdrawn_and_come_back_with_it(directory: Directory) -> None:
    await directory.tenant("home", operator=True)
    await directory.tenant("acme")
    await directory.forget()
    own = await directory.call("acme/admin", "PATCH", "/v1/tenants/acme", {"active": False}, match=1)
    assert own.status_code == 403
    gone = await directory.call("home/admin", "PATCH", "/v1/tenants/acme", {"active": False}, match=1)
    assert gone.status_code == 200
    assert await directory.published("credential.changed") == [None]
    assert (await directory.call("acme/admin", "GET", "/v1/people/me")).status_code == 401
    back = await directory.call("home/admin", "PATCH", "/v1/tenants/acme", {"active": True}, match=2)
    assert back.status_code == 200
    assert (await directory.published("credential.changed"))[-1] is not None
    assert (await directory.call("acme/admin", "GET", "/v1/people/me")).status_code == 200
