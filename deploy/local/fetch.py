"""Fetch pinned files: resumed where they were left, verified before they get their name, several at a time.

What lies under its final name was verified; `.part` files belong to whoever holds their lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local.progress import Transfer
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.local.pins import Pin
    from deploy.local.progress import Progress

CHUNK: Final = 1 << 18
ATTEMPTS: Final = 4
TIMEOUT_SECONDS: Final = 30
AT_ONCE: Final = 6
PAUSE_SECONDS: float = 0.5


def fetch(pins: Sequence[Pin], folder: Path, progress: Progress, *, base: str | None = None) -> None:
    """Bring every pinned file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [pin for pin in pins if not present(pin, folder)]
    if not missing:
        return
    source = (base or repository()).rstrip("/")
    transfer = Transfer(progress, files=len(missing), expected=sum(pin.size for pin in missing))
    # The largest first, so that it does not come alone at the end.
    ordered = sorted(missing, key=lambda pin: -pin.size)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(lambda pin: _bring(pin, folder, source, transfer), ordered))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            progress.end()


def present(pin: Pin, folder: Path) -> bool:
    """Whether the file is there under its final name (it was verified when it got it)."""
    path = folder / pin.filename
    return path.is_file() and path.stat().st_size == pin.size


def repository() -> str:
    """The Maven repository: a mirror when one is named, else the one that jgo carries."""
    named = os.environ.get("DESKWIRE_MAVEN_URL")
    if named:
        return named
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL)


def _bring(pin: Pin, folder: Path, source: str, transfer: Transfer) -> None:
    """Fetch one file under its lock, resuming and retrying."""
    began = time.monotonic()
    part = folder / f"{pin.filename}.part"
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if present(pin, folder):
            # Another start brought it while we waited for the lock.
            part.unlink(missing_ok=True)
            transfer.add(pin.filename, pin.size)
            transfer.finish(pin.filename, pin.size, time.monotonic() - began)
            return
        counted = _download(pin, part, f"{source}/{pin.path}", transfer)
        if _sha256(part) != pin.sha256:
            os.truncate(part, 0)
            transfer.add(pin.filename, -counted)
            _download(pin, part, f"{source}/{pin.path}", transfer)
            if _sha256(part) != pin.sha256:
                part.unlink()
                raise Refusal(
                    f"{pin.filename} differs from its pinned hash, twice.",
                    "Something on the way changes files: check the proxy, or name a mirror with DESKWIRE_MAVEN_URL.",
                )
        part.rename(folder / pin.filename)
    transfer.finish(pin.filename, pin.size, time.monotonic() - began)


def _download(pin: Pin, part: Path, url: str, transfer: Transfer) -> int:
    """Fill the part file up to the pinned size; return how many bytes were counted as received."""
    counted = part.stat().st_size
    transfer.add(pin.filename, counted)
    problem = ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            counted += _stream(pin, part, url, transfer)
        except urllib.error.HTTPError as error:
            problem = f"the repository answered {error.code}"
            if error.code in {
                HTTPStatus.NOT_FOUND,
                HTTPStatus.FORBIDDEN,
                HTTPStatus.UNAUTHORIZED,
                HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
            }:
                break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            if part.stat().st_size == pin.size:
                return counted
            problem = f"it ended after {part.stat().st_size} of {pin.size} bytes"
            if part.stat().st_size > pin.size:
                os.truncate(part, 0)
        if attempt < ATTEMPTS:
            time.sleep(PAUSE_SECONDS * 2**attempt)
    raise Refusal(
        f"{pin.filename} could not be fetched: {problem}.",
        "Check the network, HTTPS_PROXY and SSL_CERT_FILE, or name a mirror with DESKWIRE_MAVEN_URL; "
        "what has arrived is kept and resumed.",
    )


def _stream(pin: Pin, part: Path, url: str, transfer: Transfer) -> int:
    """Append what is missing; from the start when the server cannot resume."""
    have = part.stat().st_size
    if have == pin.size:
        return 0
    if not url.startswith(("https://", "http://")):
        raise Refusal(f"{url} is no web address.", "DESKWIRE_MAVEN_URL must start with https:// or http://.")
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    received = 0
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=_trust()) as answer, part.open("r+b") as file:
        if have and answer.status == HTTPStatus.PARTIAL_CONTENT:
            file.seek(have)
        else:
            file.truncate(0)
            transfer.add(pin.filename, -have)
            received -= have
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            received += len(chunk)
            transfer.add(pin.filename, len(chunk))
    return received


def _trust() -> ssl.SSLContext:
    """The certificates of the system, or those that the usual variables name."""
    named = next(
        (
            os.environ[name]
            for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
            if os.environ.get(name)
        ),
        None,
    )
    context = ssl.create_default_context(cafile=named)
    if named is None and not context.get_ca_certs():
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
