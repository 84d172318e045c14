"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
from pathlib import Path
from shared import memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

memory.give_back()
large = bytearray(30_000_000)
del large
before = resident()
blocks = [bytearray(300_000) for _ in range(200)]
kept = blocks[::20]
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_after_a_burst_only_what_is_kept_is_held() -> None:
    answer = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 10_000, "kB beyond the ten blocks of 300 kB that are kept; all 200 are 60,000"
