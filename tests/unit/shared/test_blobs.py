"""The blob store: whole or not at all, once within a tenant, never across two, orphans swept after a day."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from shared import blobs
from shared.blobs import BlobMissingError, Blobs, BlobTooLargeError
from shared.settings import SettingsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept here"


@pytest.fixture
def store(folder: Path) -> Blobs:
    return Blobs(folder.as_uri())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_bytes_come_back_as_they_went_in(store: Blobs) -> None:
    for data in (b"", b"x", os.urandom(3_000_000)):
        ref = await store.put("acme", data, "text/plain")
        assert (ref.sha256, ref.size, ref.media_type) == (hashlib.sha256(data).hexdigest(), len(data), "text/plain")
        assert await store.get("acme", ref.sha256) == data
        assert b"".join([part async for part in store.stream("acme", ref.sha256)]) == data


async def test_the_same_bytes_are_kept_once_within_a_tenant_and_apart_between_two(store: Blobs, folder: Path) -> None:
    digests = {(await store.put(tenant, b"same")).sha256 for tenant in ("acme", "acme", "other")}
    (digest,) = digests
    assert files(folder) == [f"acme/{digest}", f"other/{digest}"]
    await store.delete("acme", digest)
    assert await store.get("other", digest) == b"same"
    with pytest.raises(BlobMissingError):
        await store.get("acme", digest)


async def test_a_long_stream_is_hashed_and_stored_without_being_held(store: Blobs, folder: Path) -> None:
    parts = [os.urandom(1_000_000) for _ in range(20)]
    ref = await store.put("acme", chunks(*parts))
    assert ref.sha256 == hashlib.sha256(b"".join(parts)).hexdigest()
    assert ref.size == 20_000_000
    assert files(folder) == [f"acme/{ref.sha256}"]
    assert await store.get("acme", ref.sha256) == b"".join(parts)


@pytest.mark.parametrize("parts", [3, 20])
async def test_a_stream_beyond_its_limit_leaves_nothing(store: Blobs, folder: Path, parts: int) -> None:
    with pytest.raises(BlobTooLargeError):
        await store.put("acme", chunks(*[bytes(1_000_000)] * parts), limit=parts * 1_000_000 - 1)
    assert files(folder) == []


async def test_a_stream_that_fails_leaves_nothing(store: Blobs, folder: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(1_000_000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put("acme", failing())
    assert files(folder) == []


async def test_concurrent_puts_of_the_same_bytes_agree(store: Blobs, folder: Path) -> None:
    data = os.urandom(200_000)
    refs = await asyncio.gather(*(store.put("acme", data) for _ in range(20)))
    assert len({ref.sha256 for ref in refs}) == 1
    assert len(files(folder)) == 1


async def test_a_path_cannot_be_smuggled_in(store: Blobs) -> None:
    for tenant in ("../acme", "acme/..", "", "Acme", ".parts"):
        with pytest.raises(ValueError):
            await store.put(tenant, b"x")
    with pytest.raises(BlobMissingError):
        await store.get("acme", "../../etc/passwd")


async def test_the_sweep_takes_old_orphans_and_abandoned_parts_only(store: Blobs, folder: Path) -> None:
    named, orphan, young = [(await store.put("acme", text)).sha256 for text in (b"named", b"orphan", b"young")]
    (folder / ".parts").mkdir()
    (folder / ".parts" / "abandoned").write_bytes(b"half")
    old = time.time() - 25 * 3600
    for name in (f"acme/{named}", f"acme/{orphan}", ".parts/abandoned"):
        os.utime(folder / name, (old, old))

    async def referenced(tenant: str, hashes: Sequence[str]) -> set[str]:
        assert tenant == "acme"
        return {named} & set(hashes)

    assert await store.sweep(referenced) == 2
    assert files(folder) == sorted([f"acme/{named}", f"acme/{young}"])


async def test_bytes_found_again_are_young_again_so_the_sweep_spares_them(store: Blobs, folder: Path) -> None:
    ref = await store.put("acme", b"again")
    old = time.time() - 25 * 3600
    os.utime(folder / "acme" / ref.sha256, (old, old))
    await store.put("acme", b"again")

    async def nothing(_tenant: str, _hashes: Sequence[str]) -> set[str]:
        return set()

    assert await store.sweep(nothing) == 0


async def test_what_is_put_is_synchronised_to_the_disk(store: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(blobs, "_fsync", synced.append)
    ref = await store.put("acme", b"safe")
    assert [path.name for path in synced] == [ref.sha256]


@pytest.mark.parametrize("url", ["", "file:///", "/var/x", "ftp://x/y", "file://host/x", "s3://"])
def test_an_unusable_address_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingsError, match="BLOBS_URL"):
        Blobs(url)


def test_a_folder_that_cannot_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="BLOBS_URL: Not a directory"):
        Blobs((tmp_path / "file" / "sub").as_uri())
