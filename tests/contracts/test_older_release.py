"""Releases before and after this one, made from it: what they lack, what they have, and that each reads the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from shared.contracts import golden
from shared.contracts.message import MessageReceived
from shared.contracts.ticket import TicketUpdated
from tests.support.older_release import newer_release, older_release

ROOT = Path(__file__).parents[2]

DESCRIBE = """
import json
from shared.contracts.manifest import TOPICS
from shared.contracts.message import Channel, MessageReceived
print(json.dumps({
    "file": MessageReceived.__module__ and __import__(MessageReceived.__module__, fromlist=["x"]).__file__,
    "fields": sorted(MessageReceived.model_fields),
    "channels": [c.value for c in Channel],
    "types": [e.TYPE for t in TOPICS for e in t.events],
}))
"""
READ = """
import sys
from shared.contracts.message import MessageReceived
event = MessageReceived.model_validate_json(sys.stdin.buffer.read())
sys.stdout.buffer.write(event.to_bytes())
"""


def run(tree: Path, program: str, given: bytes = b"") -> bytes:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env=environment, input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_the_older_release_lacks_a_field_a_type_and_an_enum_value(tmp_path: Path) -> None:
    now = orjson.loads(run(ROOT, DESCRIBE))
    old = orjson.loads(run(older_release(tmp_path), DESCRIBE))
    assert old["file"].startswith(str(tmp_path))
    assert set(now["fields"]) - set(old["fields"]) == {"spoofed"}
    assert set(now["channels"]) - set(old["channels"]) == {"alert"}
    assert set(now["types"]) - set(old["types"]) == {TicketUpdated.TYPE}
    assert not set(old["types"]) - set(now["types"])


def test_the_newer_release_has_a_field_a_type_and_an_enum_value_more(tmp_path: Path) -> None:
    now = orjson.loads(run(ROOT, DESCRIBE))
    new = orjson.loads(run(newer_release(tmp_path), DESCRIBE))
    assert set(new["fields"]) - set(now["fields"]) == {"region"}
    assert set(new["channels"]) - set(now["channels"]) == {"fax"}
    assert set(new["types"]) - set(now["types"]) == {"ticket.updated.v2"}


@pytest.mark.parametrize("make", [older_release, newer_release])
def test_each_release_reads_what_another_wrote(make: Callable[[Path], Path], tmp_path: Path) -> None:
    tree = make(tmp_path)
    payload = golden.examples(MessageReceived)["full"] | {"spoofed": True, "channel": "alert", "region": "eu"}
    theirs = orjson.loads(run(tree, READ, orjson.dumps(payload)))
    ours = orjson.loads(MessageReceived.model_validate(payload).to_bytes())
    assert theirs["channel"] == ours["channel"] == "alert"
    assert MessageReceived.model_validate(theirs).key == MessageReceived.model_validate(ours).key
    fax = MessageReceived.model_validate(ours | {"channel": "fax"}).to_bytes()
    assert orjson.loads(run(tree, READ, fax))["channel"] == "fax"
