"""What breaks those who read an older release: a comparison of two releases as plain JSON values, pure.

Both directions count. The log still holds events of the old release, which new readers must accept; old readers run
beside new producers, and must accept what these write. So a type may neither narrow nor widen: contracts only grow,
by optional fields, by values of open enums, by new types and topics. `null` is never written for an absent field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

Schema = Mapping[str, Any]
Records = Mapping[str, Mapping[str, Any]]

_ANNOTATIONS = frozenset(
    {"$schema", "$id", "$ref", "$defs", "$comment", "title", "description", "examples", "deprecated", "discriminator"}
)
_STRUCTURE = frozenset(
    {"type", "enum", "const", "default", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf"}
)


@dataclass(frozen=True, order=True)
class Break:
    """One broken promise."""

    topic: str
    where: str
    """The field, like `ticket.created.v1 ticket.priority.rank`, or the topic itself."""
    what: str
    consumers: tuple[str, ...] = ()
    """The services that read the topic; others may, too."""

    @override
    def __str__(self) -> str:
        """One line: the field, what happened to it, whom it breaks."""
        readers = ", ".join((*self.consumers, "outside subscribers"))
        return f"{self.where}: {self.what}; readers of {self.topic}: {readers}"


def breaks(
    old: Records, old_schemas: Mapping[str, Schema], new: Records, new_schemas: Mapping[str, Schema]
) -> list[Break]:
    """Every promise of the old release that the new one breaks, by topic and field."""
    found: list[Break] = []
    for name, before in old.items():
        after = new.get(name)
        consumers = tuple(sorted({*before["consumers"], *(after["consumers"] if after else ())}))
        if after is None:
            found.append(Break(name, name, "the topic was removed", consumers))
            continue
        found += [Break(name, name, what, consumers) for what in _topic(before, after)]
        for event_type in before["events"]:
            if event_type not in after["events"] or event_type not in new_schemas:
                found.append(Break(name, event_type, "the event type was removed", consumers))
                continue
            comparison = _Comparison(old_schemas[event_type], new_schemas[event_type])
            found += [
                Break(name, f"{event_type} {path}".rstrip(), what, consumers) for path, what in comparison.differences()
            ]
    return sorted(found)


def _topic(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for field, meaning in (
        ("key", "the key field"),
        ("compacted", "compaction"),
        ("partitions", "the number of partitions, and with it the order per key,"),
        ("owner", "the owner"),
    ):
        if old[field] != new[field]:
            yield f"{meaning} changed from {old[field]} to {new[field]}"
    if new["retention_seconds"] < old["retention_seconds"]:
        yield f"retention was shortened from {old['retention_seconds']} s to {new['retention_seconds']} s"


class _Comparison:
    """Two schemas of one event type, walked together."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new
        self._walked: set[tuple[str, str]] = set()

    def differences(self) -> Iterator[tuple[str, str]]:
        """Each difference that breaks somebody: the field's path and what happened to it."""
        return self._values(self._old, self._new, "", nulls=True)

    def _values(self, old: Schema, new: Schema, path: str, *, nulls: bool) -> Iterator[tuple[str, str]]:
        """Compare what two schemas accept; `nulls` says whether null can stand here at all."""
        pair = (str(old.get("$ref", "")), str(new.get("$ref", "")))
        if all(pair):
            # A type is compared where it is met first; its fields are named by that path. It may contain itself.
            if pair in self._walked:
                return
            self._walked.add(pair)
        befores, afters = _alternatives(old, self._old), _alternatives(new, self._new)
        if nulls and ("null" in befores) != ("null" in afters):
            yield path, "null is refused now" if "null" in befores else "may be null now, which older readers refuse"
        befores.pop("null", None)
        afters.pop("null", None)
        if len(befores) == len(afters) == 1:
            yield from self._one(next(iter(befores.values())), next(iter(afters.values())), path)
            return
        for kind in befores.keys() - afters.keys():
            yield path, f"type narrowed: {kind} is refused now"
        for kind in afters.keys() - befores.keys():
            yield path, f"type widened: may be {kind} now, which older readers refuse"
        for kind in befores.keys() & afters.keys():
            yield from self._one(befores[kind], afters[kind], path)

    def _one(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        before, after = old.get("type", "any value"), new.get("type", "any value")
        if before != after:
            yield path, f"type changed from {before} to {after}"
            return
        yield from ((path, what) for what in _enum(old, new))
        for keyword in sorted((old.keys() | new.keys()) - _ANNOTATIONS - _STRUCTURE):
            if old.get(keyword) != new.get(keyword):
                yield path, f"{keyword} changed from {old.get(keyword, 'none')} to {new.get(keyword, 'none')}"
        if "items" in old or "items" in new:
            yield from self._values(old.get("items", {}), new.get("items", {}), f"{path}[]", nulls=True)
        if before == "object":
            yield from self._fields(old, new, path)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        befores, afters = old.get("properties", {}), new.get("properties", {})
        was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
        for name, before in befores.items():
            where = f"{path}.{name}".lstrip(".")
            after = afters.get(name)
            if after is None:
                yield where, "the field was removed"
                continue
            if name in is_required - was_required:
                yield where, "was optional, is required now: events in the log may lack it"
            if name in was_required - is_required:
                yield where, "was required, may be absent now: older readers need it"
            if "default" in before and "default" in after and before["default"] != after["default"]:
                yield where, f"the default changed from {before['default']!r} to {after['default']!r}"
            yield from self._values(before, after, where, nulls=name in was_required & is_required)
        for name in sorted(is_required - befores.keys()):
            yield f"{path}.{name}".lstrip("."), "a new field must be optional: events in the log lack it"
        rest_before, rest_after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(rest_before, Mapping) and isinstance(rest_after, Mapping):
            yield from self._values(rest_before, rest_after, f"{path}.*".lstrip("."), nulls=True)
        elif _rest(rest_before) != _rest(rest_after):
            yield path, f"fields not named: {_rest(rest_before)} became {_rest(rest_after)}"


def _alternatives(schema: Schema, root: Schema) -> dict[str, Schema]:
    """The kinds of value a schema accepts, by a name for each.

    An open enum, `Enum | str`, is a string that happens to have known values: these may come and go.
    """
    found: dict[str, Schema] = {}
    for option in _flat(schema, root):
        found[_kind(option)] = option
    if "string" in found:
        found = {kind: option for kind, option in found.items() if option.get("type") != "string" or kind == "string"}
    return found


def _flat(schema: Schema, root: Schema) -> Iterator[Schema]:
    resolved = _resolve(schema, root)
    options: Iterable[Schema] | None = resolved.get("anyOf", resolved.get("oneOf"))
    if options is None:
        yield resolved
        return
    for option in options:
        yield from _flat(option, root)


def _resolve(schema: Schema, root: Schema) -> Schema:
    ref = schema.get("$ref")
    if ref is None:
        return schema
    target: Any = root
    for part in str(ref).removeprefix("#/").split("/"):
        target = target[part]
    return _resolve(target, root)


def _kind(schema: Schema) -> str:
    name = str(schema.get("type", "any value"))
    if name == "object" and "title" in schema:
        return f"object {schema['title']}"
    closed = "enum" in schema or "const" in schema
    detail = "closed enum" if closed else schema.get("format")
    return f"{name} ({detail})" if detail else name


def _enum(old: Schema, new: Schema) -> Iterator[str]:
    before, after = _members(old), _members(new)
    if before is None and after is None:
        return
    if before is None:
        yield "became a closed enum"
    elif after is None:
        yield "a closed enum was opened: older readers refuse other values"
    else:
        for value in sorted(before - after):
            yield f"closed enum narrowed: {value} is refused now"
        for value in sorted(after - before):
            yield f"closed enum widened: older readers refuse {value}"


def _members(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {repr(schema["const"])}
    return {repr(value) for value in schema["enum"]} if "enum" in schema else None


def _rest(value: bool | Schema) -> str:
    if isinstance(value, bool):
        return "ignored" if value else "refused"
    return "of any name" if value else "ignored"
