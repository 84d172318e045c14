"""Texts that are safe where they end up: in a header, a subject line, a log."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        msg = "must be one line without control characters"
        raise ValueError(msg)
    return text


SingleLine = Annotated[
    str,
    StringConstraints(max_length=1000),
    AfterValidator(_one_line),
    Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"}),
]
"""One line without control characters: a subject, a name, a file name. CR and LF would become headers (B5)."""
