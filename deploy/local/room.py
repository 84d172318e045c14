"""Whether this machine can carry it at all: system, disk, memory. Asked before anything is fetched or started."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Final

from deploy.local.refusal import Refusal

GIB: Final = 1 << 30
FRESH_DISK: Final = 4 * GIB
WARM_DISK: Final = 1 * GIB
# Kafka 380 MB, OpenSearch 770 MB, PostgreSQL 100 MB and services under 150 MB each.
MEMORY: Final = 2 * GIB


def require_system() -> None:
    """Refuse what the pinned binaries do not run on."""
    libc = platform.libc_ver()[0]
    if platform.system() != "Linux" or platform.machine() not in {"x86_64", "AMD64"} or libc != "glibc":
        raise Refusal(
            "The bundled programs need Linux on x86-64 with glibc; "
            f"this is {platform.system()} on {platform.machine()} with {libc or 'another libc'}.",
            "Run your own engines and set KAFKA_URL, DATABASE_URL and OPENSEARCH_URL, or use a Linux container.",
        )


def require_disk(folder: Path, needed: int) -> None:
    """Refuse when the disk under `folder` has less than `needed` bytes left."""
    if skipped():
        return
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Refusal(
            f"The disk of {folder} has {free / GIB:.1f} GiB left; {needed / GIB:.0f} GiB are needed.",
            "Free some space, set DESKWIRE_CACHE and DESKWIRE_STATE elsewhere, "
            "or go on regardless with DESKWIRE_SKIP_CHECKS=1.",
        )


def require_memory(needed: int = MEMORY) -> None:
    """Refuse when the machine, or the container that we are in, has less than `needed` bytes to give."""
    if skipped():
        return
    available = available_memory()
    if available is not None and available < needed:
        raise Refusal(
            f"Only {available / GIB:.1f} GiB of memory are available; {needed / GIB:.1f} GiB are needed.",
            "Stop something, give the machine more, or go on regardless with DESKWIRE_SKIP_CHECKS=1.",
        )


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had: what the kernel calls available, within the limit of our control group."""
    available: int | None = None
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    except OSError:
        return None
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            ceiling = (root / "sys/fs/cgroup" / limit).read_text().strip()
            taken = int((root / "sys/fs/cgroup" / used).read_text())
        except (OSError, ValueError):
            continue
        if ceiling.isdigit() and available is not None:
            available = min(available, max(0, int(ceiling) - taken))
    return available


def skipped() -> bool:
    """Whether the person at the terminal said to go on regardless."""
    return os.environ.get("DESKWIRE_SKIP_CHECKS") == "1"
