"""The OpenAPI document says what can really be answered."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shared.auth import Authenticator, FixedCredentials
from shared.http import CurrentPrincipal, api
from tests.support.api import ApiSettings, in_memory
from tests.support.sample import Note, sample


def document() -> dict[str, Any]:
    found: dict[str, Any] = sample().openapi()
    return found


def test_it_is_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.0"


def test_every_reference_leads_somewhere() -> None:
    whole = document()
    references: list[str] = []

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            references.extend(value for key, value in node.items() if key == "$ref")
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(whole)
    assert references
    for reference in references:
        node: Any = whole
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_schema_is_a_valid_json_schema() -> None:
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/v1/notes", "post", {202, 400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503}),
        ("/v1/notes", "get", {200, 400, 401, 403, 422, 429, 500, 503}),
        ("/v1/notes/{note_id}", "get", {200, 304, 400, 401, 403, 404, 422, 429, 500, 503}),
        ("/v1/notes/{note_id}", "patch", {200, 400, 401, 403, 404, 408, 412, 413, 415, 422, 428, 429, 500, 503}),
    ],
)
def test_an_operation_names_every_status_it_can_answer(path: str, method: str, statuses: set[int]) -> None:
    assert {int(status) for status in document()["paths"][path][method]["responses"]} == statuses


def test_every_problem_is_documented_as_problem_json() -> None:
    whole = document()
    for response in whole["components"]["responses"].values():
        assert list(response["content"]) == ["application/problem+json"]
    assert {"ProblemDetails", "FieldError"} <= set(whole["components"]["schemas"])
    assert not {"HTTPValidationError", "ValidationError"} & set(whole["components"]["schemas"])


def test_a_protected_operation_names_its_scheme() -> None:
    whole = document()
    assert whole["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for item in whole["paths"].values():
        for operation in item.values():
            assert operation["security"] == [{"bearer": []}]


async def test_documents_of_strangers_javascript_are_not_served() -> None:
    async with in_memory(sample()) as client:
        assert (await client.get("/openapi.json")).json() == document()
        for path in ("/docs", "/redoc"):
            assert (await client.get(path)).status_code == 404


async def test_a_plain_fastapi_router_is_protected_all_the_same() -> None:
    router = APIRouter()

    @router.post("/things")
    async def make(note: Note) -> Note:
        return note

    app = api(title="x", service="x", settings=ApiSettings(), authenticator=Authenticator(FixedCredentials()))
    app.include_router(router)
    async with in_memory(app, headers={"Content-Type": "application/json"}) as client:
        assert (await client.post("/things", content=b'{"subject":"a"}')).json()["subject"] == "a"
        assert (await client.post("/things", content=b'{"subject":"a","subject":"b"}')).status_code == 400


async def test_a_route_on_the_app_itself_authenticates() -> None:
    app = api(title="x", service="x", settings=ApiSettings(), authenticator=Authenticator(FixedCredentials()))

    @app.get("/me")
    async def me(principal: CurrentPrincipal) -> str:
        return principal.tenant_id

    async with in_memory(app) as client:
        assert (await client.get("/me")).status_code == 401
