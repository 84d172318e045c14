"""What changes between two packs, section by section, in words a support manager reads.

Items of a list are matched by what people call them (a state by its name, a transition by its ends), not by position:
one line moved is no change, one line inserted is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue
from typing_extensions import override


class Kind(StrEnum):
    """What happened to one thing of a pack."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was."""

    section: str
    kind: Kind
    what: str
    """`states pending: resolution`, `transitions open -> closed`."""
    old: JsonValue = None
    new: JsonValue = None

    @override
    def __str__(self) -> str:
        match self.kind:
            case Kind.ADDED:
                return f"  + {self.what}: {_shown(self.new)}"
            case Kind.REMOVED:
                return f"  - {self.what}: {_shown(self.old)}"
            case Kind.CHANGED:
                return f"  ~ {self.what}: {_shown(self.old)} → {_shown(self.new)}"


Sections = Mapping[str, Mapping[str, JsonValue]]


def compare(old: Sections, new: Sections) -> list[Difference]:
    """Everything that differs, by section. Both sides are written out in full, defaults included."""
    found: list[Difference] = []
    for section in dict.fromkeys([*old, *new]):
        found += _mapping(section, (), old.get(section, {}), new.get(section, {}))
    return found


def changed_sections(old: Sections, new: Sections) -> list[str]:
    """Sections to be published, or, when they are not in `new`, withdrawn."""
    return [section for section in dict.fromkeys([*old, *new]) if old.get(section) != new.get(section)]


def told(differences: Sequence[Difference]) -> str:
    """The differences as text: a heading per section, one line each; `no changes` for none."""
    if not differences:
        return "no changes"
    lines: list[str] = []
    for section in dict.fromkeys(item.section for item in differences):
        lines.append(section)
        lines += [str(item) for item in differences if item.section == section]
    return "\n".join(lines)


def _mapping(
    section: str, at: tuple[str, ...], old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]
) -> Iterator[Difference]:
    for key in dict.fromkeys([*old, *new]):
        if key not in old:
            yield from _all(section, Kind.ADDED, (*at, key), new[key])
        elif key not in new:
            yield from _all(section, Kind.REMOVED, (*at, key), old[key])
        elif old[key] != new[key]:
            yield from _value(section, (*at, key), old[key], new[key])


def _value(section: str, at: tuple[str, ...], old: JsonValue, new: JsonValue) -> Iterator[Difference]:
    named_old, named_new = _by_name(old), _by_name(new)
    if named_old is not None and named_new is not None:
        yield from _mapping(section, at, named_old, named_new)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _mapping(section, at, old, new)
    else:
        yield Difference(section=section, kind=Kind.CHANGED, what=_path(at), old=old, new=new)


def _all(section: str, kind: Kind, at: tuple[str, ...], value: JsonValue) -> Iterator[Difference]:
    """A thing as a whole; a list of named things one by one."""
    named = _by_name(value)
    if named:
        for name, item in named.items():
            yield from _all(section, kind, (*at, name), item)
        return
    old, new = (value, None) if kind is Kind.REMOVED else (None, value)
    yield Difference(section=section, kind=kind, what=_path(at), old=old, new=new)


def _by_name(value: JsonValue) -> dict[str, JsonValue] | None:
    """A list of things people have names for, by those names; None for anything else. Equal names are numbered."""
    if not isinstance(value, list):
        return None
    found: dict[str, JsonValue] = {}
    for item in value:
        name = _name(item)
        if name is None:
            return None
        count = sum(1 for known in found if known == name or known.startswith(f"{name} #"))
        found[f"{name} #{count + 1}" if count else name] = item
    return found


def _name(item: JsonValue) -> str | None:
    if not isinstance(item, dict):
        return None
    if "from" in item and "to" in item:
        return _arrow(item)
    for field in ("name", "label", "id"):
        name = item.get(field)
        if isinstance(name, str):
            return name
    return None


def _arrow(item: Mapping[str, JsonValue]) -> str:
    """`open -> closed`, with the trigger, or with the roles where those tell two manual transitions apart."""
    trigger = item.get("trigger", "manual")
    roles = item.get("roles")
    by = str(trigger)
    if trigger == "manual" and isinstance(roles, list) and set(roles) == {"customer"}:
        by = "customer"
    return f"{item['from']} -> {item['to']} ({by})"


def _path(at: Sequence[str]) -> str:
    """`states pending: resolution`: the list and the thing in it are one name."""
    return ": ".join([" ".join(at[:2]), *at[2:]])


def _shown(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case True:
            return "yes"
        case False:
            return "no"
        case list():
            return "[" + ", ".join(_shown(item) for item in value) + "]"
        case dict():
            shown = (f"{key} {_shown(item)}" for key, item in value.items() if item not in (None, [], False))
            return ", ".join(shown)
        case float() if value.is_integer():
            # A whole number of minutes, which a model keeps as 30.0.
            return str(int(value))
        case _:
            return str(value)
