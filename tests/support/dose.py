"""How much a test that draws its cases does: short for `make unit`, usual for `make test`, full for `make soak`."""

from __future__ import annotations

import os

DOSE = os.environ.get("DESKWIRE_DOSE", "usual")


def examples(usual: int) -> int:
    """How many cases to draw where `make test` draws `usual`."""
    return {"short": max(usual // 5, 10), "full": usual * 20}.get(DOSE, usual)
