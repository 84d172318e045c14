"""The gate, tried: a copy of the tree in which a frozen contract is broken does not pass it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = "tests/contracts/test_compatibility.py"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The contracts and their gate, and nothing else."""
    leave = shutil.ignore_patterns("__pycache__")
    (tmp_path / "shared").mkdir()
    shutil.copy(ROOT / "shared/__init__.py", tmp_path / "shared")
    shutil.copytree(ROOT / "shared/contracts", tmp_path / "shared/contracts", ignore=leave)
    (tmp_path / "tests/contracts").mkdir(parents=True)
    for name in ("tests/__init__.py", "tests/contracts/__init__.py", GATE, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def gate(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the gate in a copy; it must see the copy and not this checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON", "COV"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", GATE],
        cwd=tree,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def edit(tree: Path, name: str, old: str, new: str) -> None:
    path = tree / name
    text = path.read_text()
    assert old in text, f"{name} no longer has {old!r}: change this test with it"
    path.write_text(text.replace(old, new, 1))


def test_an_untouched_copy_passes(copy: Path) -> None:
    done = gate(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        pytest.param(
            "message.py",
            "    spoofed: bool = False\n",
            "",
            r"message\.received\.v1 spoofed: the field was removed; readers of message\.received: directory, tickets",
            id="field removed",
        ),
        pytest.param(
            "ticket.py",
            "    queue: str\n    channel",
            "    queue: str\n    region: str\n    channel",
            r"ticket\.created\.v1 ticket\.region: a new field must be optional",
            id="new required field",
        ),
        pytest.param(
            "ticket.py",
            "    rank: int\n",
            "    rank: Annotated[int, Field(ge=1)]\n",
            r"ticket\.priority\.rank: minimum changed from none to 1",
            id="type narrowed",
        ),
        pytest.param(
            "message.py",
            "    external_id: str | None = None\n",
            "    external_id: str\n",
            r"message\.received\.v1 external_id: was optional, is required now",
            id="optional became required",
        ),
        pytest.param(
            "message.py",
            '    KEY: ClassVar[str] = "conversation_id"',
            '    KEY: ClassVar[str] = "message_id"',
            r"message\.received: the key field changed from conversation_id to message_id",
            id="key changed",
        ),
        pytest.param(
            "message.py",
            "    channel: Annotated[Channel | str, OPEN]\n    received_at",
            "    channel: Channel\n    received_at",
            r"message\.received\.v1 channel: became a closed enum",
            id="open enum closed",
        ),
        pytest.param(
            "manifest.py",
            '    summary="The newest state of each ticket, with its version and ledger.",\n    compacted=True,\n',
            '    summary="The newest state of each ticket, with its version and ledger.",\n',
            r"ticket\.state: compaction changed from True to False",
            id="compaction changed",
        ),
        pytest.param(
            "released/1.0/message.received.v1.schema.json",
            '"spoofed"',
            '"forged"',
            r"release 1\.0 is frozen, but these files are not as they were: message\.received\.v1\.schema\.json",
            id="frozen file edited",
        ),
    ],
)
def test_a_break_is_refused_by_name(copy: Path, name: str, old: str, new: str, told: str) -> None:
    edit(copy, f"shared/contracts/{name}", old, new)
    done = gate(copy)
    assert done.returncode != 0, "the gate let it pass"
    assert re.search(told, done.stdout), done.stdout


def test_a_new_optional_field_passes(copy: Path) -> None:
    edit(
        copy,
        "shared/contracts/message.py",
        "    spoofed: bool = False\n",
        "    spoofed: bool = False\n    region: str | None = None\n",
    )
    done = gate(copy)
    assert done.returncode == 0, done.stdout
