"""No toy: with any one safeguard taken away, the test named for it fails, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.support import safeguards
from tests.support.safeguards import BY_NAME, SAFEGUARDS, Edit, PatchError, Safeguard

pytestmark = pytest.mark.engines

NEEDED = ("inbox check", "version check", "commit before offset")
AT_ONCE = 3


@pytest.fixture(scope="module")
async def tried(request: pytest.FixtureRequest) -> AsyncIterator[Mapping[str, asyncio.Task[str]]]:
    """What became of each, a few side by side."""
    gate = asyncio.Semaphore(AT_ONCE)
    addresses = safeguards.addresses()

    async def one(safeguard: Safeguard) -> str:
        async with gate:
            return await safeguards.without(safeguard, addresses)

    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == request.node.path and hasattr(item, "callspec")
    ]
    tasks = {name: asyncio.create_task(one(BY_NAME[name])) for name in names}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("name", NEEDED)
async def test_without_a_safeguard_its_test_fails(name: str, tried: Mapping[str, asyncio.Task[str]]) -> None:
    assert await tried[name] == ""


@pytest.mark.soak
@pytest.mark.parametrize("name", [one.name for one in SAFEGUARDS if one.name not in NEEDED])
async def test_without_any_other_safeguard_its_test_fails(name: str, tried: Mapping[str, asyncio.Task[str]]) -> None:
    assert await tried[name] == ""


def test_every_patch_fits_the_source_and_a_patch_that_does_not_is_refused(tmp_path: Path) -> None:
    for safeguard in SAFEGUARDS:
        safeguards.apply(safeguards.copy(tmp_path / safeguard.name), safeguard.edits)
    with pytest.raises(PatchError, match="0 times"):
        safeguards.apply(tmp_path / NEEDED[0], [Edit(file="shared/inbox.py", old="no such line", new="")])
