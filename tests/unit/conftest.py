"""What keeps the unit tier within seconds: fewer random cases when asked, no garbage collection over what stays."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.dose import DOSE, examples

HERE = Path(__file__).parent

# How long an example or its making takes says something of the machine that day, and no test has a time limit.
# The same cases every time, so that nobody's change fails for a case nobody had seen; the long doses look for others.
settings.register_profile(
    "dose",
    max_examples=examples(100),
    derandomize=DOSE != "full",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dose")


def pytest_itemcollected(item: pytest.Item) -> None:
    """What a unit test opens it closes."""
    if item.path.is_relative_to(HERE):
        item.add_marker(pytest.mark.filterwarnings("error::ResourceWarning"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Modules and collected tests live until the end: walking them again and again is a tenth of the whole."""
    del session
    gc.collect()
    gc.freeze()
