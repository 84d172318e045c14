"""One attempt over HTTP: to a vetted address, without a second look-up, following nothing.

The addresses are judged before every attempt, the connector gets exactly those, and each socket is judged once more by
the address it is made for, so that no way through the client's own parsing reaches a private one.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override
from yarl import URL

from services.notify.domain.webhook_delivery import ANSWER_BYTES, ANSWER_KEPT, Answer, retry_after
from shared.egress.rules import RefusedError, Rules, Target, UrlError, is_public, target_of
from shared.egress.vetting import Vetting

KEPT_SECONDS = 4.0
"""How long an idle connection is kept: below the five seconds after which common servers close theirs."""
CONNECT_SECONDS = 10.0
MOST_NAMES = 4096


class Sender:
    """One pool of connections for all endpoints."""

    def __init__(self, vetting: Vetting, *, seconds: float = 20.0, tls: ssl.SSLContext | None = None) -> None:
        """`seconds` is how long one attempt may take, the look-up apart."""
        self._vetting = vetting
        self._pinned = _Pinned()
        connector = aiohttp.TCPConnector(
            resolver=self._pinned,
            use_dns_cache=False,
            ssl=tls or True,
            limit=0,  # lanes bound what is under way
            keepalive_timeout=KEPT_SECONDS,
            socket_factory=_gate(vetting.rules),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, seconds)),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept-Encoding", "Accept"),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST once; whatever happens is an answer."""
        began = time.perf_counter()
        answer = await self._send(url, headers, body)
        elapsed = round((time.perf_counter() - began) * 1000, 2)
        return Answer(
            status=answer.status,
            error=answer.error,
            text=answer.text,
            retry_after=answer.retry_after,
            milliseconds=elapsed,
        )

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            target = target_of(url)
            self._pinned.pin(target, await self._vetting.addresses(target))
            address = URL(url)
            if address.host is None or address.raw_host != target.host or address.port != target.port:
                return Answer(error="refused", text="the address is read in two ways")
            async with self._session.post(address, data=body, headers=headers, allow_redirects=False) as response:
                text = await _beginning(response)
                return Answer(
                    status=response.status,
                    text=text,
                    error="redirect" if 300 <= response.status < 400 else None,
                    retry_after=retry_after(response.headers.get("Retry-After")),
                )
        except (RefusedError, UrlError) as error:
            return Answer(error="refused", text=str(error))
        except TimeoutError:
            return Answer(error="timeout")
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError):
            return Answer(error="tls")
        except (aiohttp.ClientConnectorDNSError, socket.gaierror):
            return Answer(error="name")
        except aiohttp.ClientConnectionError as error:
            return Answer(error="refused" if isinstance(error.__cause__, RefusedError) else "connection")
        except aiohttp.ClientError:
            return Answer(error="unreadable")
        except OSError:
            return Answer(error="connection")


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """The first characters of a body; a body that stops coming takes nothing from a status that has come."""
    data = b""
    try:
        while len(data) < ANSWER_BYTES:
            part = await response.content.read(ANSWER_BYTES - len(data))
            if not part:
                break
            data += part
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    text = data.decode("utf-8", "replace").replace("\0", "")
    return text[:ANSWER_KEPT]


class _Pinned(AbstractResolver):
    """Answers the connector with what was vetted, and with nothing else."""

    def __init__(self) -> None:
        self._addresses: dict[tuple[str, int], tuple[str, ...]] = {}

    def pin(self, target: Target, addresses: tuple[str, ...]) -> None:
        """From now on `target` is at these addresses."""
        if len(self._addresses) >= MOST_NAMES:
            self._addresses.clear()
        self._addresses[target.host, target.port] = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The pinned addresses. Raises RefusedError for a name that was not vetted."""
        addresses = self._addresses.get((host, port))
        if addresses is None:
            raise RefusedError("the name was not looked up by us")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    @override
    async def close(self) -> None:
        """Nothing is held."""


def _gate(rules: Rules) -> Any:
    """Makes sockets, for addresses only that the rules let through: the last door, whatever came before."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, proto, _, place = info
        address = ip_address(place[0])
        # Scheme and port were judged before; here it is about where the packets go.
        if not (is_public(address) or rules.opens(address)):
            raise RefusedError("the address is not a public one")
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made

    return make
