"""schemathesis over an API built with `api()`; and that it finds what it is there to find."""

from __future__ import annotations

import pytest

from shared.contracts.directory import Role
from shared.http import CurrentPrincipal, Router
from tests.support.api import caller
from tests.support.openapi import check_api
from tests.support.sample import sample

AGENT = caller(Role.AGENT)


async def test_no_request_to_any_operation_is_a_server_error_or_undocumented() -> None:
    report = await check_api(sample(AGENT), headers=AGENT.headers, examples=20)
    assert report.operations == {
        "GET /v1/notes",
        "POST /v1/notes",
        "GET /v1/notes/{note_id}",
        "PATCH /v1/notes/{note_id}",
        "GET /v1/audit",
    }
    assert {202, 422} <= report.statuses("POST /v1/notes")
    assert {200, 422} <= report.statuses("GET /v1/notes")


async def test_the_harness_finds_a_crash_an_undocumented_status_and_an_open_door() -> None:
    app = sample(AGENT)
    router = Router(prefix="/v1")

    @router.get("/crash")
    async def crash(_: CurrentPrincipal, number: int = 0) -> int:
        return 1 // (number - number)

    @router.get("/shy", status_code=204)
    async def shy(_: CurrentPrincipal) -> None:
        return None

    app.include_router(router)
    app.openapi()["paths"]["/v1/shy"]["get"]["responses"] = {"200": {"description": "It says."}}
    app.openapi()["paths"]["/v1/uploads/raw"] = {
        "post": {"security": [{"bearer": []}], "responses": {"200": {"description": "Done."}}}
    }
    with pytest.raises(AssertionError) as found:
        await check_api(app, headers=AGENT.headers, examples=5, only=["/v1/crash", "/v1/shy", "/v1/uploads/raw"])
    text = str(found.value)
    assert "GET /v1/crash: Server error" in text
    assert "GET /v1/shy: Undocumented status code" in text
    assert "POST /v1/uploads/raw: API accepts requests without authentication" in text
