"""The contracts as an older, or a newer, release has them: a copy of the tree with a few promises fewer, or more.

For rolling upgrades: two processes of one consumer group, one with this checkout on its path, one with the copy. The
older one lacks a field, a type with its topic, and an enum value; the newer one has each of these in addition, the type
being the next version on a topic that both know.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TREES = ("shared", "services", "cli", "tests")
CONTRACTS = Path("shared/contracts")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What one release has that another lacks."""

    field: tuple[str, str, str]
    """Module, class, name of the field."""
    type: tuple[str, str]
    """Module and class of the event."""
    value: tuple[str, str, str]
    """Module, enum, name of the value."""


OLDER = Difference(
    field=("message", "MessageReceived", "spoofed"),
    type=("ticket", "TicketUpdated"),
    value=("message", "Channel", "ALERT"),
)
NEWER = Difference(
    field=("message", "MessageReceived", "region"),
    type=("ticket", "TicketUpdatedV2"),
    value=("message", "Channel", "FAX"),
)


def older_release(folder: Path, lacks: Difference = OLDER, trees: Sequence[str] = TREES) -> Path:
    """Copy the tree to `folder` without what the older release did not have. Put it first on the path of a process."""
    _copy(folder, trees)
    contracts = folder / CONTRACTS
    module, kind, name = lacks.field
    _remove(contracts / f"{module}.py", kind, name)
    module, kind, name = lacks.value
    _remove(contracts / f"{module}.py", kind, name)
    module, event = lacks.type
    _remove(contracts / f"{module}.py", event)
    _unlist(contracts / "manifest.py", event)
    return folder


def newer_release(folder: Path, trees: Sequence[str] = TREES) -> Path:
    """Copy the tree to `folder` with what the next release will have: the members of `NEWER`."""
    _copy(folder, trees)
    contracts = folder / CONTRACTS
    message, ticket, manifest = (contracts / f"{name}.py" for name in ("message", "ticket", "manifest"))
    _edit(message, "    hints: Hints = Hints()\n", "    hints: Hints = Hints()\n    region: str | None = None\n")
    _edit(message, '    ALERT = "alert"\n', '    ALERT = "alert"\n    FAX = "fax"\n')
    _edit(
        ticket,
        "class LedgerKind(StrEnum):",
        'class TicketUpdatedV2(TicketUpdated):\n    """The next version."""\n\n'
        '    TYPE: ClassVar[str] = "ticket.updated.v2"\n\n    note: str\n\n\nclass LedgerKind(StrEnum):',
    )
    _edit(manifest, "    TicketUpdated,\n)", "    TicketUpdated,\n    TicketUpdatedV2,\n)")
    _edit(manifest, "events=(TicketUpdated,)", "events=(TicketUpdated, TicketUpdatedV2)")
    return folder


def _copy(folder: Path, trees: Iterable[str]) -> None:
    leave = shutil.ignore_patterns("__pycache__", ".*", "released", "*.md")
    for tree in trees:
        shutil.copytree(ROOT / tree, folder / tree, ignore=leave, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", folder)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise AssertionError(f"{path.name} no longer has {old!r} once: change tests/support/older_release.py with it")
    path.write_text(text.replace(old, new))


def _remove(path: Path, kind: str, member: str | None = None) -> None:
    """Delete a class, or one member of it together with the text below it."""
    source = path.read_text()
    lines = source.splitlines(keepends=True)
    for definition in ast.parse(source).body:
        if not isinstance(definition, ast.ClassDef) or definition.name != kind:
            continue
        if member is None:
            del lines[definition.lineno - 1 : definition.end_lineno]
            path.write_text("".join(lines))
            return
        for statement, after in zip(definition.body, [*definition.body[1:], None], strict=True):
            if _target(statement) == member:
                described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                last = after if described and after is not None else statement
                del lines[statement.lineno - 1 : last.end_lineno]
                path.write_text("".join(lines))
                return
    raise AssertionError(f"{path.name} has no {kind}{f'.{member}' if member else ''} to leave out")


def _target(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return None


def _unlist(manifest: Path, event: str) -> None:
    """Delete the topic of an event from the manifest: its constant, its place in `TOPICS`, the import."""
    source = manifest.read_text()
    lines = source.splitlines(keepends=True)
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and f"events=({event},)" in (
            ast.get_source_segment(source, statement) or ""
        ):
            constant = _target(statement)
            del lines[statement.lineno - 1 : statement.end_lineno]
            kept = [line for line in lines if line not in (f"    {constant},\n", f"    {event},\n")]
            manifest.write_text("".join(kept))
            return
    raise AssertionError(f"the manifest has no topic with {event} alone")
