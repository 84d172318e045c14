"""Bytes kept by what they are: `<tenant>/<sha256>` in a folder or a bucket.

The same bytes are kept once within a tenant and never shared between two. Who needs a blob is told by rows of the
service that stored it; bytes are stored before the row that names them, so what no row names after a day is swept.
An object appears whole or not at all, and when `put` returns it survives a crash of the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from shared.contracts.message import BlobRef
from shared.service import Check
from shared.settings import SettingsError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from shared.settings import ServiceSettings

TIMEOUT = 30.0
"""Seconds any one call to the store may take."""
IN_MEMORY = 8 * 1024 * 1024
"""A stream up to this size is collected before it is stored; a longer one goes to a temporary object first."""
CHUNK = 1024 * 1024
ORPHAN_AFTER = timedelta(hours=24)
"""An object no row names is deleted when it is this old: whoever stored it has given up long ago."""
TOUCH_AFTER = timedelta(hours=6)
"""An object found again is written again when it is older, so that the sweep cannot take it from under its new row."""

_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTS = ".parts"

Referenced = Callable[[str, Sequence[str]], Awaitable[set[str]]]
"""Which of these hashes of a tenant some row names."""


class BlobMissingError(KeyError):
    """There are no such bytes."""


class BlobTooLargeError(ValueError):
    """A stream went on beyond its limit; nothing of it is kept."""


class Blobs:
    """The blob store of one installation."""

    def __init__(self, url: str) -> None:
        """`file:///folder` or `s3://bucket/prefix` (keys, region, endpoint from the usual AWS_ variables).

        Raises SettingsError for anything else, or a folder that cannot be made.
        """
        self._folder: Path | None = None
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.path not in {"", "/"} and not parts.netloc:
            self._folder = Path(unquote(parts.path))
            self._store = _folder_store(self._folder)
        elif parts.scheme == "s3" and parts.netloc:
            self._store = _bucket_store(url)
        else:
            raise SettingsError("BLOBS_URL: file:///folder or s3://bucket/prefix is needed")

    @classmethod
    def of(cls, settings: ServiceSettings) -> Blobs:
        """The store that `settings.blobs_url` names."""
        return cls(settings.blobs_url)

    async def put(
        self,
        tenant_id: str,
        data: bytes | AsyncIterator[bytes],
        media_type: str = "application/octet-stream",
        *,
        limit: int | None = None,
    ) -> BlobRef:
        """Keep bytes; returns when they are safe. Raises BlobTooLargeError beyond `limit` bytes, keeping none."""
        if not isinstance(data, bytes):
            head, rest = await _collect(data, limit)
            if rest is not None:
                return await self._put_stream(tenant_id, head, rest, media_type, limit)
            data = head
        elif limit is not None and len(data) > limit:
            raise BlobTooLargeError(f"{len(data)} bytes, at most {limit}")
        digest = await asyncio.to_thread(_digest, data) if len(data) > CHUNK else _digest(data)
        key = _key(tenant_id, digest)
        if not await self._is_fresh(key, len(data)):
            import obstore  # noqa: PLC0415 - only services with blobs load it

            async with asyncio.timeout(TIMEOUT):
                await obstore.put_async(self._store, key, data)
            await self._sync(key)
        return BlobRef(sha256=digest, size=len(data), media_type=media_type)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """All the bytes. Raises BlobMissingError (a KeyError)."""
        import obstore  # noqa: PLC0415 - as above

        try:
            async with asyncio.timeout(TIMEOUT):
                found = await obstore.get_async(self._store, _key(tenant_id, sha256))
                return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise BlobMissingError(f"{tenant_id}/{sha256}") from error

    async def stream(self, tenant_id: str, sha256: str) -> AsyncIterator[bytes]:
        """The bytes, a megabyte at a time. Raises BlobMissingError before the first."""
        import obstore  # noqa: PLC0415 - as above

        try:
            async with asyncio.timeout(TIMEOUT):
                found = await obstore.get_async(self._store, _key(tenant_id, sha256))
        except FileNotFoundError as error:
            raise BlobMissingError(f"{tenant_id}/{sha256}") from error
        chunks = aiter(found.stream(min_chunk_size=CHUNK))
        while True:
            async with asyncio.timeout(TIMEOUT):
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            yield bytes(chunk)

    async def delete(self, tenant_id: str, sha256: str) -> None:
        """Delete; what is not there is no error."""
        import obstore  # noqa: PLC0415 - as above

        try:
            async with asyncio.timeout(TIMEOUT):
                await obstore.delete_async(self._store, _key(tenant_id, sha256))
        except FileNotFoundError:
            return

    async def sweep(self, referenced: Referenced, *, older_than: timedelta = ORPHAN_AFTER) -> int:
        """Delete what is older than `older_than` and named by no row, and streams given up; how many.

        Only a service that alone owns the store's tenants may call it: what it does not know is deleted.
        """
        import obstore  # noqa: PLC0415 - as above

        before = datetime.now(UTC) - older_than
        deleted = 0
        async for batch in obstore.list(self._store, chunk_size=500):
            by_tenant: dict[str, list[str]] = {}
            for item in batch:
                if item["last_modified"] >= before:
                    continue
                tenant, _, name = item["path"].partition("/")
                if _TENANT.fullmatch(tenant) and _SHA256.fullmatch(name):
                    by_tenant.setdefault(tenant, []).append(name)
                elif tenant == _PARTS:
                    async with asyncio.timeout(TIMEOUT):
                        await obstore.delete_async(self._store, item["path"])
                    deleted += 1
            for tenant, hashes in by_tenant.items():
                for orphan in sorted(set(hashes) - await referenced(tenant, hashes)):
                    await self.delete(tenant, orphan)
                    deleted += 1
        return deleted

    def checks(self) -> Sequence[Check]:
        """What readiness asks: whether the store answers, and whether a folder can be written."""
        return [Check(name="blobs", ready=self._reachable)]

    async def _reachable(self) -> None:
        if self._folder is not None:
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError(f"{self._folder} cannot be written")
            return
        import obstore  # noqa: PLC0415 - as above

        try:
            await obstore.head_async(self._store, f"{_PARTS}/probe")
        except FileNotFoundError:
            return

    async def _put_stream(
        self, tenant_id: str, head: bytes, rest: AsyncIterator[bytes], media_type: str, limit: int | None
    ) -> BlobRef:
        """Store a long stream under a temporary key, then under the hash it turned out to have."""
        import obstore  # noqa: PLC0415 - as above

        part = f"{_PARTS}/{secrets.token_hex(16)}"
        _key(tenant_id, "0" * 64)
        digest, size = hashlib.sha256(), 0
        try:
            async with obstore.open_writer_async(self._store, part, buffer_size=IN_MEMORY) as writer:
                async for chunk in _prepended(head, rest, limit):
                    size += len(chunk)
                    digest.update(chunk)
                    async with asyncio.timeout(TIMEOUT):
                        await writer.write(chunk)
            key = _key(tenant_id, digest.hexdigest())
            async with asyncio.timeout(TIMEOUT):
                await obstore.rename_async(self._store, part, key, overwrite=True)
        except BaseException:
            # Best effort; the sweep takes what is left.
            with _Ignored():
                async with asyncio.timeout(2):
                    await obstore.delete_async(self._store, part)
            raise
        await self._sync(key)
        return BlobRef(sha256=digest.hexdigest(), size=size, media_type=media_type)

    async def _is_fresh(self, key: str, size: int) -> bool:
        """Whether the object is there, whole, and young enough to be left as it is."""
        import obstore  # noqa: PLC0415 - as above

        try:
            async with asyncio.timeout(TIMEOUT):
                found = await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        return found["size"] == size and datetime.now(UTC) - found["last_modified"] < TOUCH_AFTER

    async def _sync(self, key: str) -> None:
        """Have a folder's file and its name on the disk: the store itself only renames it into place."""
        if self._folder is not None:
            await asyncio.to_thread(_fsync, self._folder / key)


class _Ignored:
    """Suppress whatever cleaning up raises: the first error is the one to tell."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> bool:
        return True


def _folder_store(folder: Path) -> ObjectStore:
    from obstore.store import LocalStore  # noqa: PLC0415 - as above

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return LocalStore(folder)
    except OSError as error:
        raise SettingsError(f"BLOBS_URL: {error.strerror}: {folder}") from error


def _bucket_store(url: str) -> ObjectStore:
    from obstore.store import from_url  # noqa: PLC0415 - as above

    return from_url(
        url,
        client_options={"timeout": timedelta(seconds=TIMEOUT), "connect_timeout": timedelta(seconds=5)},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=TIMEOUT)},
    )


def _key(tenant_id: str, sha256: str) -> str:
    if not _TENANT.fullmatch(tenant_id):
        raise ValueError("not a tenant")
    if not _SHA256.fullmatch(sha256):
        raise BlobMissingError("not a SHA-256 in hex")
    return f"{tenant_id}/{sha256}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fsync(path: Path) -> None:
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def _collect(data: AsyncIterator[bytes], limit: int | None) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """The whole of a short stream, or the beginning of a long one and its rest."""
    collected = bytearray()
    async for chunk in data:
        collected += chunk
        if limit is not None and len(collected) > limit:
            raise BlobTooLargeError(f"more than {limit} bytes")
        if len(collected) > IN_MEMORY:
            return bytes(collected), data
    return bytes(collected), None


async def _prepended(head: bytes, rest: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    """The whole stream again. Raises BlobTooLargeError where it passes the limit."""
    size = len(head)
    yield head
    async for chunk in rest:
        size += len(chunk)
        if limit is not None and size > limit:
            raise BlobTooLargeError(f"more than {limit} bytes")
        yield chunk
