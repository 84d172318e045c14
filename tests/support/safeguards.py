"""Take one safeguard away in a copy of the tree, and require the test named for it to fail.

`python -m tests.support.safeguards [name …]` tries all, or those named, and ends with status 1 when a test passed
without its safeguard. The checkout itself is never touched. A patch that no longer fits the source fails loudly:
change it with the source.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.engines import engines

ROOT = Path(__file__).parents[2]
TREES = ("shared", "tests", "deploy")
FAULTS = "tests/integration/faults"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of the source."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Safeguard:
    """What is taken away, and who notices."""

    name: str
    edits: tuple[Edit, ...]
    test: str
    """The node id of a test."""
    says: str
    """What its failure has to say, as a pattern: failing for another reason proves nothing."""


SAFEGUARDS = (
    Safeguard(
        name="inbox check",
        edits=(
            Edit(
                file="shared/bus/batch.py",
                old="                with_id = [item for item in with_id if item.inbox_id in fresh]\n",
                new="                pass\n",
            ),
        ),
        test=f"{FAULTS}/test_redelivery.py::test_a_fifth_of_everything_sent_twice_has_no_second_effect",
        says="2 effects instead of 1",
    ),
    Safeguard(
        name="version check",
        edits=(
            Edit(
                file="shared/replica_store.py",
                old="        ELSE excluded.version > r.version OR (excluded.version = r.version AND r.event IS NOT NULL)\n",
                new="        ELSE true\n",
            ),
            Edit(
                file="shared/replica_store.py",
                old="    return row.version >= rival.version\n",
                new="    return True\n",
            ),
        ),
        test=f"{FAULTS}/test_redelivery.py"
        "::test_older_states_and_facts_of_other_keys_in_any_order_end_in_the_newest_state",
        says="replica r",
    ),
    Safeguard(
        name="commit before offset",
        edits=(
            Edit(
                file="shared/bus/bus.py",
                old="        with contextlib.suppress(AbandonedError):\n            await self._runner.run(",
                new="        done(items)\n        await self._offsets.flush()\n"
                "        with contextlib.suppress(AbandonedError):\n            await self._runner.run(",
            ),
        ),
        test=f"{FAULTS}/test_crash.py::test_killed_at_any_point_nothing_is_lost_or_done_twice[bus.before_commit]",
        # Which of the two depends on what the batch that dies was carrying.
        says=r"0 effects instead of 1|version \d+ instead of \d+",
    ),
    Safeguard(
        name="version check of a consumer of states",
        edits=(
            Edit(
                file="tests/support/faults/service.py",
                old='                " WHERE state.version < excluded.version RETURNING 1",\n',
                new='                " RETURNING 1",\n',
            ),
        ),
        test=f"{FAULTS}/test_redelivery.py"
        "::test_older_states_and_facts_of_other_keys_in_any_order_end_in_the_newest_state",
        says="state s",
    ),
    Safeguard(
        name="acknowledged before deleted",
        edits=(
            Edit(
                file="shared/relay.py",
                old='        crash.point("relay.before_produce")\n',
                new='        await session.execute("DELETE FROM outbox WHERE id = ANY ($1::bigint[])", [r.id for r in rows])\n'
                '        crash.point("relay.before_produce")\n',
            ),
        ),
        test=f"{FAULTS}/test_crash.py::test_killed_at_any_point_nothing_is_lost_or_done_twice[relay.before_produce]",
        says="0 distinct answers instead of 1",
    ),
    Safeguard(
        name="lease token",
        edits=(
            Edit(
                file="shared/task_rows.py",
                old='    return tag == "DELETE 1"\n',
                new="    return True\n",
            ),
        ),
        test=f"{FAULTS}/test_due.py::test_a_worker_frozen_past_its_lease_writes_no_second_result",
        says="2 effects",
    ),
    Safeguard(
        name="later events of a waiting key wait behind it",
        edits=(
            Edit(
                file="shared/bus/batch.py",
                old="            held = accepted.held\n",
                new="            held = accepted.held & set(diverted)\n",
            ),
        ),
        test=f"{FAULTS}/test_strangers.py"
        "::test_a_newer_version_waits_with_its_followers_and_the_newer_release_handles_them",
        says="waits",
    ),
    Safeguard(
        name="waking of what waited",
        edits=(
            Edit(
                file="shared/waiting.py",
                old="        \" AND reason = 'not_yet'\",\n",
                new="        \" AND reason = 'never'\",\n",
            ),
        ),
        test=f"{FAULTS}/test_waiting_machine.py::test_waiting_keys_do_what_their_model_says[50-40]",
        says="was not woken",
    ),
)
BY_NAME: Mapping[str, Safeguard] = {one.name: one for one in SAFEGUARDS}


class PatchError(AssertionError):
    """The source no longer has what a patch takes away."""


def apply(tree: Path, edits: Sequence[Edit]) -> None:
    """Change the copy. Raises PatchError unless each edit fits exactly once."""
    for edit in edits:
        path = tree / edit.file
        text = path.read_text()
        if text.count(edit.old) != 1:
            raise PatchError(f"{edit.file} has {edit.old!r} {text.count(edit.old)} times: change the patch with it")
        path.write_text(text.replace(edit.old, edit.new))


def copy(folder: Path) -> Path:
    """A copy of what the tests need of this tree."""
    leave = shutil.ignore_patterns("__pycache__", ".*", "node_modules")
    for tree in TREES:
        shutil.copytree(ROOT / tree, folder / tree, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


async def without(safeguard: Safeguard, addresses: Mapping[str, str]) -> str:
    """Run the named test without its safeguard; why that proves nothing, or nothing when it failed as it should."""
    with tempfile.TemporaryDirectory(prefix="safeguard-") as folder:
        tree = copy(Path(folder) / "tree")
        apply(tree, safeguard.edits)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-x", "--tb=short", safeguard.test),
            cwd=tree,
            env={**os.environ, **addresses, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 180)
        except BaseException:
            process.kill()
            await process.wait()
            raise
    told = output.decode(errors="replace")
    if process.returncode == 0:
        return f"{safeguard.test} passes without the {safeguard.name}"
    if process.returncode != 1 or re.search(safeguard.says, told) is None:
        return f"{safeguard.test} failed, but not because of the {safeguard.name}:\n{told[-6000:]}"
    return ""


def addresses() -> dict[str, str]:
    """The engines of this run, for the runs without safeguards."""
    found = engines()
    return {
        "KAFKA_URL": found.kafka_url,
        "DATABASE_URL": found.database_url,
        "OPENSEARCH_URL": found.opensearch_url,
    }


async def _try(chosen: Sequence[Safeguard]) -> int:
    failed = 0
    for one in chosen:
        print(f"without the {one.name}: ", end="", flush=True)  # noqa: T201 - the answer of the program
        wrong = await without(one, addresses())
        print(wrong or f"{one.test} fails, as it should")  # noqa: T201 - as above
        failed += bool(wrong)
    return 1 if failed else 0


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description="Take safeguards away, one at a time; each test must notice.")
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(BY_NAME)}")
    given = parser.parse_args().names
    unknown = [name for name in given if name not in BY_NAME]
    if unknown:
        parser.error(f"no safeguard is named {unknown[0]!r}; there are {', '.join(BY_NAME)}")
    return asyncio.run(_try([BY_NAME[name] for name in given] or SAFEGUARDS))


if __name__ == "__main__":
    raise SystemExit(main())
