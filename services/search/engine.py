"""OpenSearch, as far as search uses it: one client, every call with a timeout, errors told apart.

Nothing is retried here: a write is repeated by the indexer, a search by whoever asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import ConnectionError as ConnectionFailure
from opensearchpy.exceptions import NotFoundError, TransportError
from opensearchpy.serializer import JSONSerializer
from typing_extensions import override

from services.search.domain import mapping
from services.search.settings import Settings
from shared.health import NotReadyError

_CONNECTIONS = 8
_ADMIN_SECONDS = 10.0
_BUSY = frozenset({429, 502, 503, 504})
_BULK_BYTES = 4_000_000
"""Of one request; a batch of long conversations becomes several."""


class EngineAwayError(Exception):
    """OpenSearch cannot be reached, is too busy, or has not got its index: the same again later."""


class QueryRefusedError(Exception):
    """OpenSearch refused a query: a mistake of ours."""


@dataclass(frozen=True, slots=True)
class Write:
    """One document to be written, or deleted when it has no body."""

    ticket_id: UUID
    tenant_id: str
    version: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write."""

    write: Write
    status: int
    error: str = ""
    """Kind of the error, without content."""

    @property
    def done(self) -> bool:
        """It is in the index, or something newer is; or a deletion found nothing."""
        return (
            self.status < 300
            or self.status == 409
            or (self.write.body is None and self.status == 404 and not self.error)
        )

    @property
    def later(self) -> bool:
        """The engine could not take it now."""
        return self.status in _BUSY or self.status >= 500


class _Orjson(JSONSerializer):
    @override
    def dumps(self, data: Any) -> Any:
        return data if isinstance(data, (str, bytes)) else orjson.dumps(data)

    @override
    def loads(self, s: str) -> Any:
        return orjson.loads(s)


class Engine:
    """One client of one OpenSearch, with the names of this installation's indexes."""

    def __init__(self, settings: Settings) -> None:
        # At debug level the client logs bodies, which hold what people wrote.
        logging.getLogger("opensearch").setLevel(logging.ERROR)
        user = settings.opensearch_username
        self._client: Any = AsyncOpenSearch(
            settings.opensearch_url,
            http_auth=(user, settings.opensearch_password.get_secret_value()) if user else None,
            ca_certs=settings.opensearch_ca_file or None,
            serializer=_Orjson(),
            pool_maxsize=_CONNECTIONS,
            timeout=settings.search_seconds + 1,
            max_retries=0,
            retry_on_timeout=False,
        )
        self._prefix = settings.index_prefix
        self._settings = settings
        self.alias = mapping.alias(self._prefix)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ready(self) -> None:
        """For readiness: the engine answers and the alias is there. Raises NotReadyError."""
        try:
            found = await self._call("HEAD", f"/_alias/{self.alias}", seconds=1.8)
        except EngineAwayError as error:
            raise NotReadyError(f"opensearch: {error}") from error
        if found is not True:
            raise NotReadyError(f"opensearch: {self.alias} is not there yet")

    # -- indexes ------------------------------------------------------------------------------------------------

    def name(self, number: int) -> str:
        """The index of a generation."""
        return mapping.index(self._prefix, number)

    async def create(self, number: int) -> None:
        """Create an index with its write alias; one that is there already is left as it is."""
        name = self.name(number)
        body = mapping.index_body(self._settings.shards, self._settings.replicas)
        body["aliases"] = {mapping.write_alias(name): {}}
        if await self._call("HEAD", f"/{name}", seconds=_ADMIN_SECONDS) is not True:
            await self._call("PUT", f"/{name}", body=body, seconds=_ADMIN_SECONDS, ignore=("resource_already_exists",))

    async def highest(self) -> int:
        """The highest number of an index there is; 0 for none."""
        found: Mapping[str, Any] = await self._call(
            "GET", f"/{mapping.index(self._prefix, 0)[:-1]}*/_alias", seconds=_ADMIN_SECONDS
        )
        numbers = [name.rpartition("-")[2] for name in found]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    async def searched(self) -> list[str]:
        """The indexes behind the alias: one, or none."""
        try:
            found: Mapping[str, Any] = await self._call("GET", f"/_alias/{self.alias}", seconds=_ADMIN_SECONDS)
        except NotFoundError:
            return []
        return list(found)

    async def exists(self, number: int) -> bool:
        """Whether an index is there with its write alias."""
        alias = mapping.write_alias(self.name(number))
        return await self._call("HEAD", f"/_alias/{alias}", seconds=_ADMIN_SECONDS) is True

    async def promote(self, number: int) -> None:
        """Have this index searched and no other, in one step."""
        name = self.name(number)
        before = await self.searched()
        actions: list[dict[str, Any]] = [
            {"remove": {"index": one, "alias": self.alias}} for one in before if one != name
        ]
        await self.refresh(number)
        actions.append({"add": {"index": name, "alias": self.alias}})
        await self._call("POST", "/_aliases", body={"actions": actions}, seconds=_ADMIN_SECONDS)

    async def refresh(self, number: int) -> None:
        """Have everything written so far found."""
        await self._call("POST", f"/{self.name(number)}/_refresh", seconds=_ADMIN_SECONDS)

    async def count(self, number: int) -> int:
        """Documents of an index that can be found."""
        found: int = (await self._call("GET", f"/{self.name(number)}/_count", seconds=_ADMIN_SECONDS))["count"]
        return found

    async def delete(self, number: int) -> None:
        """Delete an index; one that is not there is no error."""
        try:
            await self._call("DELETE", f"/{self.name(number)}", seconds=_ADMIN_SECONDS)
        except NotFoundError:
            return

    # -- documents ----------------------------------------------------------------------------------------------

    async def write(self, number: int, writes: Sequence[Write]) -> list[Outcome]:
        """Write to one index; what became of each. Raises EngineAwayError when nothing is known of them."""
        outcomes: list[Outcome] = []
        part: list[Write] = []
        size = 0
        for one in writes:
            size += len(one.body or b"") + 200
            if part and size > _BULK_BYTES:
                outcomes += await self._bulk(number, part)
                part, size = [], len(one.body or b"") + 200
            part.append(one)
        return outcomes + (await self._bulk(number, part) if part else [])

    async def _bulk(self, number: int, writes: Sequence[Write]) -> list[Outcome]:
        lines: list[bytes] = []
        for one in writes:
            about = {
                "_id": str(one.ticket_id),
                "routing": one.tenant_id,
                "version": one.version,
                "version_type": "external_gte",
            }
            lines.append(orjson.dumps({"delete" if one.body is None else "index": about}))
            if one.body is not None:
                lines.append(one.body)
        answer = await self._call(
            "POST",
            f"/{mapping.write_alias(self.name(number))}/_bulk",
            params={"require_alias": "true", "filter_path": "errors,items.*.status,items.*.error.type"},
            body=b"\n".join(lines) + b"\n",
            seconds=self._settings.bulk_seconds,
        )
        items = [next(iter(item.values())) for item in answer["items"]]
        if len(items) != len(writes):
            raise EngineAwayError("the answer to a bulk has another number of items")
        return [
            Outcome(one, item["status"], item.get("error", {}).get("type", ""))
            for one, item in zip(writes, items, strict=True)
        ]

    async def search(self, tenant_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One search among a tenant's tickets. Raises EngineAwayError, QueryRefusedError."""
        answer: dict[str, Any] = await self._call(
            "POST",
            f"/{self.alias}/_search",
            # Scores differ between copies of a shard: pages of one listing should come from the same one.
            params={"routing": tenant_id, "preference": f"tenant-{tenant_id}"},
            body=body,
            seconds=self._settings.search_seconds + 1,
        )
        if answer.get("timed_out"):
            raise EngineAwayError("the search took too long")
        return answer

    async def search_many(self, searches: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any] | None]:
        """Searches of several tenants in one request; None for one that failed."""
        lines: list[bytes] = []
        for tenant_id, body in searches:
            lines += [orjson.dumps({"index": self.alias, "routing": tenant_id}), orjson.dumps(body)]
        answer = await self._call(
            "POST",
            "/_msearch",
            params={"max_concurrent_searches": "2"},
            body=b"\n".join(lines) + b"\n",
            seconds=_ADMIN_SECONDS,
        )
        return [None if "error" in one else one for one in answer["responses"]]

    async def _call(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
        ignore: Sequence[str] = (),
    ) -> Any:
        # The client turns HEAD into a truth value, 404 into False.
        try:
            return await self._client.transport.perform_request(
                method, path, params=dict(params or {}), body=body, headers=_headers(body), timeout=seconds
            )
        except ConnectionFailure as error:
            raise EngineAwayError("cannot be reached" if error.status_code == "N/A" else "does not answer") from error
        except NotFoundError as error:
            if error.error == "index_not_found_exception":
                raise EngineAwayError("its index is not there") from error
            raise
        except TransportError as error:
            status = error.status_code
            if isinstance(status, int) and (status in _BUSY or status >= 500):
                raise EngineAwayError(f"answered {status}") from error
            if any(word in str(error.error) for word in ignore):
                return None
            raise QueryRefusedError(f"{status} {error.error}") from error


def _headers(body: object) -> dict[str, str]:
    kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
    return {"content-type": kind}
