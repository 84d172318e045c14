"""B8: nothing of one tenant is seen or touched by another, whatever the role and wherever the id stands."""

from __future__ import annotations

import pytest

from tests.integration.ingest.conftest import Ingest, message, person

pytestmark = pytest.mark.engines

ROLES = ("service", "customer", "agent", "team_lead", "manager", "admin")


@pytest.mark.parametrize("role", ROLES)
async def test_a_foreign_message_does_not_exist(ingest: Ingest, role: str) -> None:
    told = await ingest.submit(message(1))
    for path in (f"/v1/messages/{told['message_id']}", f"/v1/messages/{told['message_id']}/original"):
        answer = await ingest.call(f"beta/{role}", "GET", path)
        assert answer.status_code == 404, (role, path)
        assert "customer.example" not in answer.text
    replay = await ingest.call(f"beta/{role}", "POST", f"/v1/quarantine/{told['message_id']}/replay")
    assert replay.status_code in {403, 404}


async def test_an_answer_to_a_foreign_message_joins_nothing(ingest: Ingest) -> None:
    told = await ingest.submit(message(1, source_id="s"))
    for named in (told["message_id"], told["conversation_id"], told["ticket_id"], "s"):
        answer = await ingest.submit(message(2, in_reply_to=named), "beta/service")
        assert answer["conversation_id"] != told["conversation_id"]


async def test_a_foreign_upload_cannot_be_attached(ingest: Ingest) -> None:
    ahead = await ingest.call("acme/service", "POST", "/v1/attachments?filename=a.txt", b"secret")
    body = message(attachments=[{"upload_id": ahead.json()["upload_id"]}])
    for who in ("beta/service", "acme/agent"):
        answer = await ingest.call(who, "POST", "/v1/messages", body)
        assert answer.status_code == 422, who


async def test_the_same_key_in_two_tenants_is_two_messages(ingest: Ingest) -> None:
    first = await ingest.submit(message(), Idempotency_Key="k")
    second = await ingest.submit(message(), "beta/service", Idempotency_Key="k")
    assert first["message_id"] != second["message_id"]
    assert [event.tenant_id for event in await ingest.received()] == ["acme", "beta"]


async def test_a_customer_sees_own_messages_only_and_no_quarantine(ingest: Ingest) -> None:
    ingest.key("acme/customer", person("acme", "user1@customer.example"))
    own = await ingest.submit(message(1))
    other = await ingest.submit(message(2))
    assert (await ingest.call("acme/customer", "GET", f"/v1/messages/{own['message_id']}")).status_code == 200
    assert (await ingest.call("acme/customer", "GET", f"/v1/messages/{other['message_id']}")).status_code == 404
    assert (await ingest.call("acme/customer", "GET", "/v1/quarantine")).status_code == 403
    assert (await ingest.call("acme/agent", "GET", f"/v1/messages/{other['message_id']}")).status_code == 200


async def test_nobody_comes_in_without_a_credential(ingest: Ingest) -> None:
    for method, path in (
        ("POST", "/v1/messages"),
        ("POST", "/v1/attachments"),
        ("GET", "/v1/quarantine"),
        ("GET", "/v1/messages/00000000-0000-0000-0000-000000000000"),
    ):
        assert (await ingest.http.request(method, path)).status_code == 401


async def test_an_original_is_saved_and_never_shown(ingest: Ingest) -> None:
    told = await ingest.submit(message(1, text="<script>alert(1)</script>"))
    answer = await ingest.call("acme/agent", "GET", f"/v1/messages/{told['message_id']}/original")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
