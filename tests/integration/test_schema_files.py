"""`schema.sql` beside the migrations is what they add up to, so that a review sees the tables as they will be."""

from __future__ import annotations

import pytest

from cli.schema import schemas
from tests.support.engines import Engines

pytestmark = pytest.mark.engines


async def test_every_committed_schema_is_what_the_migrations_make(engines: Engines) -> None:
    wanted = await schemas(engines.database_url)
    stale = [path.name for path, content in wanted.items() if not path.exists() or path.read_text() != content]
    assert not stale, "out of date: ./deskwire schema"
    assert len(wanted) > 3
