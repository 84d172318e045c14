"""ENGINES=docker, where a Docker daemon answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import docker
from deploy.local.progress import Progress
from deploy.local.record import Record
from deploy.local.refusal import Refusal

pytestmark = pytest.mark.docker


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    if not docker.available():
        pytest.skip("no Docker daemon answers here: ENGINES=docker was not tried")
    yield Record(folder=tmp_path)
    docker.stop(tmp_path, Progress())


@pytest.mark.parametrize("role", ["postgres", "kafka", "opensearch"])
def test_an_engine_in_a_container_is_started_taken_over_and_removed(record: Record, role: str) -> None:
    first = docker.start(record, Progress(), [role])
    assert docker.start(record, Progress(), [role]) == first
    assert docker.stop(record.folder, Progress()) == 1
    assert docker.stop(record.folder, Progress()) == 0


def test_without_a_daemon_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(Refusal, match="no Docker daemon answers"):
        docker.connect()
