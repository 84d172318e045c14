"""The comparison of releases: additive changes pass, each kind of break is found and named."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.compatibility import Break, breaks

Json = dict[str, Any]

RECORD: Json = {
    "owner": "tickets",
    "consumers": ["search", "sla"],
    "events": ["thing.happened.v1"],
    "key": "thing_id",
    "compacted": False,
    "retention_seconds": 2_592_000,
    "partitions": 12,
    "max_bytes": 262_144,
}
NAMES = st.text("abcdefgh", min_size=1, max_size=4)
PLAIN: list[Json] = [
    {"type": "string"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "pattern": "^[a-z]+$"},
    {"type": "integer", "minimum": 0},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "string", "enum": ["a", "b"]},
    {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "string"}]},
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {},
]


def leaves() -> st.SearchStrategy[Json]:
    return st.sampled_from(PLAIN).map(copy.deepcopy)


def an_object(fields: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    def build(properties: dict[str, Json], required: list[bool]) -> Json:
        names = list(properties)
        return {
            "type": "object",
            "properties": properties,
            "required": [name for name, is_required in zip(names, required, strict=False) if is_required],
        }

    properties = st.dictionaries(NAMES, fields, min_size=1, max_size=4)
    return st.builds(build, properties, st.lists(st.booleans(), min_size=4, max_size=4))


schemas = an_object(
    st.recursive(
        leaves(),
        lambda inner: st.one_of(an_object(inner), inner.map(lambda x: {"type": "array", "items": x})),
        max_leaves=8,
    )
)


def compare(old: Json, new: Json, *, before: Json = RECORD, after: Json = RECORD) -> list[Break]:
    return breaks(
        {"thing.happened": before}, {"thing.happened.v1": old}, {"thing.happened": after}, {"thing.happened.v1": new}
    )


def objects(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every object with named fields in a schema, by its path."""
    if "properties" in schema:
        yield path, schema
        for name, field in schema["properties"].items():
            yield from objects(field, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from objects(schema["items"], f"{path}[]")


def fields(schema: Json, kind: Callable[[Json], bool] = bool) -> list[tuple[str, Json, str]]:
    """Path, object and name of every field for which `kind` holds."""
    return [
        (f"{path}.{name}".lstrip("."), node, name)
        for path, node in objects(schema)
        for name, field in node["properties"].items()
        if kind(field) or kind is bool
    ]


@given(schemas)
def test_a_schema_does_not_break_itself(schema: Json) -> None:
    assert compare(schema, copy.deepcopy(schema)) == []


@given(schemas, st.data())
def test_any_additive_change_is_accepted(schema: Json, data: st.DataObject) -> None:
    new = copy.deepcopy(schema)
    for _ in range(data.draw(st.integers(1, 4))):
        _, node = data.draw(st.sampled_from(list(objects(new))))
        name = "new_" + data.draw(NAMES)
        if name not in node["properties"]:
            node["properties"][name] = data.draw(leaves()) | {"default": None}
    for _, node, name in fields(new, lambda field: "anyOf" in field and "enum" in field["anyOf"][0]):
        node["properties"][name]["anyOf"][0]["enum"].append("c")
    for _, node in objects(new):
        node["description"] = "Said better."
    assert compare(schema, new) == []
    grown = RECORD | {"consumers": ["notify", "sla"], "events": ["thing.happened.v1", "thing.happened.v2"]}
    assert compare(schema, new, after=grown | {"retention_seconds": 2_592_001}) == []


def _remove(node: Json, name: str) -> None:
    del node["properties"][name]
    node["required"] = [other for other in node["required"] if other != name]


def _flip_required(node: Json, name: str) -> None:
    required = node["required"]
    node["required"] = [n for n in required if n != name] if name in required else [*required, name]


def _retype(node: Json, name: str) -> None:
    node["properties"][name] = (
        {"type": "boolean"} if node["properties"][name].get("type") != "boolean" else {"type": "integer"}
    )


def _new_required(node: Json, name: str) -> None:
    node["properties"][f"new_{name}"] = {"type": "string"}
    node["required"] = [*node["required"], f"new_{name}"]


@pytest.mark.parametrize(
    ("change", "named"),
    [(_remove, "{}"), (_flip_required, "{}"), (_retype, "{}"), (_new_required, "new_{}")],
)
@given(schema=schemas, data=st.data())
def test_a_break_at_any_depth_is_named(
    change: Callable[[Json, str], None], named: str, schema: Json, data: st.DataObject
) -> None:
    new = copy.deepcopy(schema)
    path, node, name = data.draw(st.sampled_from(fields(new)))
    change(node, name)
    expected = path.removesuffix(name) + named.format(name)
    found = compare(schema, new)
    assert [b.where for b in found] == [f"thing.happened.v1 {expected}"] * len(found)
    assert found
    assert all("search, sla, outside subscribers" in str(b) for b in found)


CLOSED = {"type": "string", "enum": ["a", "b"]}
OPEN = {"anyOf": [CLOSED, {"type": "string"}]}
NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (CLOSED, {"type": "string", "enum": ["a"]}, "closed enum narrowed: 'b'"),
        (CLOSED, {"type": "string", "enum": ["a", "b", "c"]}, "closed enum widened"),
        (OPEN, CLOSED, "became a closed enum"),
        (CLOSED, OPEN, "a closed enum was opened"),
        ({"const": 1, "type": "integer"}, {"const": 2, "type": "integer"}, "closed enum"),
        ({"type": "string"}, {"type": "string", "maxLength": 5}, "maxLength changed from none to 5"),
        ({"type": "string", "maxLength": 5}, {"type": "string", "maxLength": 9}, "maxLength changed from 5 to 9"),
        ({"type": "string"}, {"type": "string", "format": "uuid"}, "format changed"),
        ({"type": "integer"}, {"type": "number"}, "type changed from integer to number"),
        ({}, {"type": "string"}, "type changed from any value to string"),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "type widened: may be integer"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "string"}, "type narrowed: integer"),
        ({"type": "string", "default": "a"}, {"type": "string", "default": "b"}, "the default changed"),
        (
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "integer"}},
            "type changed",
        ),
        (
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, NULL]}},
            "may be null",
        ),
        ({"type": "array", "maxItems": 100}, {"type": "array", "maxItems": 200}, "maxItems changed"),
        ({"type": "object"}, {"type": "object", "additionalProperties": False}, "ignored became refused"),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "integer"}},
            "type changed",
        ),
        ({"type": "string"}, {"type": "string", "not": {"const": "a"}}, "not changed"),
    ],
)
def test_each_kind_of_change_in_a_value_is_refused(old: Json, new: Json, told: str) -> None:
    found = compare({"type": "object", "properties": {"x": old}}, {"type": "object", "properties": {"x": new}})
    assert [b.where.split(" ")[1][:1] for b in found] == ["x"] * len(found)
    assert told in "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OPEN, {"type": "string"}),
        ({"type": "string"}, OPEN),
        (OPEN, {"anyOf": [{"type": "string", "enum": ["a", "z"]}, {"type": "string"}]}),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, NULL]}),
        ({"type": "string", "title": "X"}, {"type": "string", "description": "Y"}),
    ],
)
def test_what_never_travels_or_changes_no_value_is_accepted(old: Json, new: Json) -> None:
    assert compare({"type": "object", "properties": {"x": old}}, {"type": "object", "properties": {"x": new}}) == []


def test_null_matters_in_a_required_field() -> None:
    old = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    new = {"type": "object", "properties": {"x": {"anyOf": [{"type": "string"}, NULL]}}, "required": ["x"]}
    assert [b.what for b in compare(old, new)] == ["may be null now, which older readers refuse"]
    assert [b.what for b in compare(new, old)] == ["null is refused now"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": "other_id"}, "the key field changed from thing_id to other_id"),
        ({"compacted": True}, "compaction changed"),
        ({"partitions": 24}, "the order per key"),
        ({"owner": "sla"}, "the owner changed"),
        ({"retention_seconds": 3600}, "retention was shortened"),
        ({"events": ["thing.happened.v2"]}, "thing.happened.v1: the event type was removed"),
    ],
)
def test_each_kind_of_change_in_a_topic_is_refused(change: Json, told: str) -> None:
    (found,) = compare({"type": "object"}, {"type": "object"}, after=RECORD | change)
    assert told in str(found)


def test_a_removed_topic_names_those_who_read_it() -> None:
    (found,) = breaks({"thing.happened": RECORD}, {"thing.happened.v1": {}}, {}, {})
    assert (
        str(found)
        == "thing.happened: the topic was removed; readers of thing.happened: search, sla, outside subscribers"
    )


def test_types_by_reference_are_compared_and_may_contain_themselves() -> None:
    tree: Json = {
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/Node"}},
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
            }
        },
    }
    pruned = copy.deepcopy(tree)
    del pruned["$defs"]["Node"]["properties"]["name"]
    assert compare(tree, copy.deepcopy(tree)) == []
    assert [b.where for b in compare(tree, pruned)] == ["thing.happened.v1 root.name"]
    renamed = copy.deepcopy(tree)
    renamed["properties"]["root"]["$ref"] = "#/$defs/Knot"
    renamed["$defs"]["Knot"] = renamed["$defs"].pop("Node")
    renamed["$defs"]["Knot"]["properties"]["children"]["items"]["$ref"] = "#/$defs/Knot"
    assert compare(tree, renamed) == []
