"""Packs over the API: refused with their lines, compared, in force by section, taken back."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.directory import PolicyPublished, Role
from shared.contracts.pack import SECTIONS, Workflow
from tests.integration.directory.conftest import PACK, Directory

pytestmark = pytest.mark.engines


async def test_a_bad_pack_is_refused_with_the_line_of_every_problem_and_changes_nothing(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.forget()
    bad = PACK.replace("to: archived", "to: archved").replace("default: P3", "default: P9")
    for method, path in (("POST", "/v1/policies/validate"), ("POST", "/v1/policies/diff"), ("PUT", "/v1/policies")):
        answer = await directory.pack("acme/admin", method, path, bad)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        lines = bad.split("\n")
        places = {error["pointer"]: lines[error["line"] - 1] for error in answer.json()["errors"]}
        assert "archved" in places["/workflow/transitions/23/to"]
        assert "P9" in places["/priorities/default"]
        assert f"line {bad[: bad.index('default: P9')].count(chr(10)) + 1}" in answer.text
    assert await directory.published("policy.published") == []
    assert (await directory.call("acme/admin", "GET", "/v1/policies")).status_code == 404


async def test_what_is_no_text_at_all_is_refused_with_its_line(directory: Directory) -> None:
    await directory.tenant("acme")
    key = {"Authorization": f"Bearer {directory.keys['acme/admin']}", "Content-Type": "application/yaml"}
    answer = await directory.http.put("/v1/policies", content=b"pack: x\nworkflow: \xff\n", headers=key)
    empty = await directory.http.put("/v1/policies", headers=key)
    assert (answer.status_code, answer.json()["errors"][0]["line"]) == (422, 2)
    assert empty.status_code == 422


async def test_only_sections_that_changed_are_published(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.person("acme", "mara", Role.MANAGER)
    await directory.forget()
    first = await directory.pack("acme/mara", "PUT", "/v1/policies", PACK)
    assert (first.status_code, first.headers["etag"]) == (200, '"1"')
    told = await directory.published("policy.published")
    assert {event["policy_key"] for event in told if event} == {f"acme/{one.SECTION}" for one in SECTIONS}
    documents = {event["section"]: event["document"] for event in told if event}
    assert Workflow.model_validate(documents["workflow"]).initial == "new"
    await directory.forget()
    changed = PACK.replace("untouched_minutes: 30 ", "untouched_minutes: 45 ")
    compared = await directory.pack("acme/mara", "POST", "/v1/policies/diff", changed)
    assert compared.json()["text"] == "assignment\n  ~ untouched_minutes: 30 → 45"
    assert await directory.published("policy.published") == []
    second = await directory.pack("acme/mara", "PUT", "/v1/policies", changed)
    assert (second.json()["version"], second.json()["sections"]) == (2, ["assignment"])
    [event] = await directory.published("policy.published")
    assert event is not None
    policy = PolicyPublished.model_validate(event)
    assert (policy.pack_version, policy.document["untouched_minutes"]) == (2, 45)


async def test_a_new_comment_is_a_new_version_that_publishes_nothing(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)
    await directory.forget()
    same = await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)
    commented = await directory.pack("acme/admin", "PUT", "/v1/policies", PACK + "# why we did it\n")
    assert (same.json()["version"], commented.json()["version"], commented.json()["sections"]) == (1, 2, [])
    assert await directory.published("policy.published") == []
    shown = (await directory.call("acme/admin", "GET", "/v1/policies")).json()
    assert shown["text"].endswith("# why we did it\n")


async def test_a_rollback_is_a_new_version_with_the_earlier_text(directory: Directory) -> None:
    await directory.tenant("acme")
    nothing = await directory.call("acme/admin", "POST", "/v1/policies/rollback")
    assert nothing.status_code == 409
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK.replace("digits: 6", "digits: 8"))
    await directory.forget()
    back = await directory.call("acme/admin", "POST", "/v1/policies/rollback")
    assert (back.json()["version"], back.json()["rolled_back_to"], back.json()["sections"]) == (3, 1, ["numbering"])
    [event] = await directory.published("policy.published")
    assert event is not None
    assert event["document"]["digits"] == 6
    forth = await directory.call("acme/admin", "POST", "/v1/policies/rollback", {"to": 2})
    assert (forth.json()["version"], forth.json()["rolled_back_to"]) == (4, 2)
    assert (await directory.call("acme/admin", "POST", "/v1/policies/rollback", {"to": 9})).status_code == 404
    history = (await directory.call("acme/admin", "GET", "/v1/policies/versions")).json()["items"]
    assert [item["version"] for item in history] == [4, 3, 2, 1]
    old = (await directory.call("acme/admin", "GET", "/v1/policies/versions/2")).json()
    assert "digits: 8" in old["text"]


async def test_of_two_packs_at_once_one_is_told_to_look_again(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)
    answers = await asyncio.gather(
        *(
            directory.pack(
                "acme/admin", "PUT", "/v1/policies", PACK.replace("digits: 6", f"digits: {n}"), If_Match='"1"'
            )
            for n in (7, 8, 9)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    versions = await directory.rows("SELECT version FROM pack ORDER BY version")
    assert [row["version"] for row in versions] == [1, 2]


async def test_agents_read_packs_and_managers_change_them(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.person("acme", "ana")
    await directory.person("acme", "leo", Role.TEAM_LEAD)
    assert (await directory.pack("acme/ana", "POST", "/v1/policies/validate", PACK)).status_code == 200
    assert (await directory.pack("acme/ana", "PUT", "/v1/policies", PACK)).status_code == 403
    assert (await directory.pack("acme/leo", "PUT", "/v1/policies", PACK)).status_code == 403


async def test_a_pack_as_json_is_the_same_pack(directory: Directory) -> None:
    import yaml  # noqa: PLC0415 - only here

    await directory.tenant("acme")
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)
    await directory.forget()
    answer = await directory.call("acme/admin", "PUT", "/v1/policies", yaml.safe_load(PACK))
    assert (answer.status_code, answer.json()["sections"]) == (200, [])
    assert await directory.published("policy.published") == []


async def test_a_pack_that_applied_once_is_checked_again_before_it_returns(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)
    await directory.pack("acme/admin", "PUT", "/v1/policies", PACK.replace("digits: 6", "digits: 8"))
    await directory.rows("UPDATE pack SET text = 'pack: old\nsla: {}' WHERE version = 1")
    answer = await directory.call("acme/admin", "POST", "/v1/policies/rollback", {"to": 1})
    assert answer.status_code == 409
    assert "line 2" in answer.json()["detail"]
