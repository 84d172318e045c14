"""Every operation of the merged OpenAPI document, tried through the origin with the key of each role."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.desk import Desk
from tests.support.openapi import check_api, is_endless
from tests.support.origin import document_of

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,
    # The clients of other fixtures draw random numbers in their own thread meanwhile, which hypothesis takes for ours.
    pytest.mark.filterwarnings("ignore:Do not use the .random. module:hypothesis.errors.HypothesisDeprecationWarning"),
]

ONE_OF_EACH = ("admin", "agent", "customer", "manager", "lead", "service")
PARTS = 3
"""Into so many parts the paths are dealt: usually each of the first three roles tries one of them."""
TRIED = [*ONE_OF_EACH[:PARTS], *(pytest.param(role, marks=pytest.mark.soak) for role in ONE_OF_EACH[PARTS:])]


@pytest.mark.parametrize("role", TRIED)
async def test_no_operation_answers_what_its_description_does_not_say(
    role: str, desk: Desk, dose: Callable[[int, int], int]
) -> None:
    await desk.open("Something to be found")
    turn = ONE_OF_EACH.index(role)
    document = await document_of(desk)
    paths = sorted(document["paths"])
    parts = dose(PARTS, 1)
    paths = paths[turn % parts :: parts]
    # PATCH /v1/people/me is PATCH /v1/people/{person_id} with an odd id, not a method that nobody described.
    without = ["unsupported_method"] if turn < PARTS else ["unsupported_method", "ignored_auth"]
    report = await check_api(
        desk.installation.origin,
        headers={"Authorization": f"Bearer {desk.keys[role]}"},
        examples=dose(3, 60),
        seed=20261121,
        without=without,
        only=paths,
    )
    wanted = {
        f"{method.upper()} {path}"
        for path in paths
        for method, operation in document["paths"][path].items()
        if not is_endless(operation)
    }
    assert report.operations == wanted, "every operation was tried"


async def test_the_document_has_every_service(desk: Desk) -> None:
    document = await document_of(desk)
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert operations >= {
        "POST /v1/messages",
        "POST /v1/attachments",
        "GET /v1/tickets",
        "POST /v1/tickets/{ticket}/transitions",
        "PATCH /v1/people/{person_id}",
        "PUT /v1/policies",
        "POST /v1/triage/preview",
        "GET /v1/triage/tickets/{ticket_id}",
        "GET /v1/tickets/{ticket}/clocks",
        "POST /v1/sla/preview",
        "POST /v1/escalations",
        "GET /v1/on-call",
        "POST /v1/webhooks",
        "GET /v1/notifications",
        "GET /v1/search",
        "GET /v1/similar",
    }
