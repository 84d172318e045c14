"""What keeps the unit tier within seconds: fewer random cases when asked, no garbage collection over what stays."""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings

from tests.support.dose import examples

settings.register_profile("dose", max_examples=examples(100))
settings.load_profile("dose")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Modules and collected tests live until the end: walking them again and again is a tenth of the whole."""
    del session
    gc.collect()
    gc.freeze()
