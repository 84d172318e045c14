"""Logging set up as services do it, and taken back: a test that left it at debug would slow all that follow."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared import log


@contextmanager
def logging_restored() -> Iterator[None]:
    """Whatever happens inside, every logger's level and handlers are afterwards what they were."""
    root = logging.getLogger()
    known = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, list(one.handlers), one.level, one.propagate) for one in (root, *known)]
    hook = sys.excepthook
    try:
        yield
    finally:
        for one, handlers, level, propagate in before:
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
        sys.excepthook = hook
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


@contextmanager
def logged(level: str = "debug") -> Iterator[io.StringIO]:
    """What is logged inside, as a service writes it."""
    with logging_restored():
        stream = io.StringIO()
        log.setup(level=level, stream=stream)
        yield stream
