"""The pinned list of engine files."""

from __future__ import annotations

import pytest

from deploy.local.pins import parse, pinned

GOOD = f"""
[kafka]
version = "4"
files = [
    {{ coordinate = "org.example:broker:4.0", size = 10, sha256 = "{"a" * 64}" }},
    {{ coordinate = "org.example:dist:4.0:zip", size = 20, sha256 = "{"b" * 64}" }},
]
"""


def test_a_coordinate_names_its_path_in_a_repository() -> None:
    jar, archive = parse("kafka", GOOD).files
    assert jar.path == "org/example/broker/4.0/broker-4.0.jar"
    assert archive.path == "org/example/dist/4.0/dist-4.0.zip"


def test_the_folder_changes_with_any_file() -> None:
    assert parse("kafka", GOOD).folder != parse("kafka", GOOD.replace("b" * 64, "c" * 64)).folder


@pytest.mark.parametrize(
    ("old", "new"),
    [("a" * 64, "a" * 63), ("size = 10", "size = 0"), ("org.example:broker:4.0", "org.example:broker"), (":zip", "")],
    ids=["short hash", "no size", "no version", "packaging lost"],
)
def test_a_malformed_pin_is_refused(old: str, new: str) -> None:
    text = GOOD.replace(old, new)
    if new == "":
        text = text.replace("dist", "broker")
    with pytest.raises(ValueError):
        parse("kafka", text)


def test_the_committed_list_is_whole() -> None:
    kafka, opensearch = pinned("kafka"), pinned("opensearch")
    assert any(pin.filename == f"kafka_2.13-{kafka.version}.jar" for pin in kafka.files)
    assert any(pin.filename == f"opensearch-{opensearch.version}.zip" for pin in opensearch.files)
    assert {pin.artifact for pin in opensearch.files} >= {"icu4j", "icu4j-localespi"}
