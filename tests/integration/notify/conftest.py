"""What the tests of notify share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.notify.mail_ground import Ground, ground
from tests.integration.notify.mail_sink import Sink, listening
from tests.support.databases import ScratchDatabases


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A mail server."""
    async with listening(Sink()) as found:
        yield found


@pytest.fixture
async def mails(databases: ScratchDatabases, tmp_path: Path, sink: Sink) -> AsyncIterator[Ground]:
    """Notify's mails with a mail server that takes them."""
    async with ground(databases, tmp_path, sink) as found:
        yield found
