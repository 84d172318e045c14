"""The gate of one API: authentication, then the caller's rate."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict

from starlette.requests import Request

from shared.auth import Authenticator, Principal, Unauthenticated
from shared.http.context import context_of
from shared.http.forwarded import CLIENT_HEADER, address_in
from shared.http.limits import Buckets, Verdict, address_key
from shared.problem import Problem

_PROVEN = 10_000

logger = logging.getLogger(__name__)


class Guard:
    """Admits principals; refuses strangers with 401 and those who ask too much with 429.

    An address with too many failures is refused before anything is verified, except for credentials that were proven
    good before: neighbours behind one address do not lock each other out.
    """

    def __init__(
        self, authenticator: Authenticator, rate: Buckets, failures: Buckets, *, edge_key: bytes | None = None
    ) -> None:
        self._authenticator = authenticator
        self._edge_key = edge_key
        self._rate = rate
        self._failures = failures
        policy = f'"caller";q={rate.burst};w={max(1, math.ceil(rate.burst / rate.per_second))}'
        self._policy = (b"ratelimit-policy", policy.encode())
        self._proven: OrderedDict[int, None] = OrderedDict()

    async def admit(self, request: Request) -> Principal:
        """The caller of `request`, looked at once however many dependencies ask. Raises 401 and 429 problems."""
        context = context_of(request)
        if context.principal is not None:
            return context.principal
        authorization = request.headers.get("authorization")
        principal = await self._authenticate(request, authorization)
        verdict = self._rate.take(principal.account)
        context.response_headers += (self._policy, (b"ratelimit", _limit(verdict).encode()))
        if not verdict.allowed:
            raise _too_many("This caller asks too often.", verdict.wait_seconds)
        context.principal = principal
        return principal

    async def _authenticate(self, request: Request, authorization: str | None) -> Principal:
        address = self.address(request)
        fingerprint = hash(authorization)
        wait = self._failures.wait(address)
        if wait > 0 and fingerprint not in self._proven:
            raise _too_many("Too many failed attempts from this address.", wait)
        try:
            principal = await self._authenticator.authenticate(authorization)
        except Unauthenticated as error:
            if authorization is not None:
                self._failures.take(address)
                self._proven.pop(fingerprint, None)
                logger.info("authentication failed", extra={"reason": error.reason})
            challenge = 'Bearer realm="deskwire"'
            if authorization is not None:
                challenge += ', error="invalid_token"'
            raise Problem(
                401,
                "unauthenticated",
                "Not authenticated",
                "Send an API key or a token as Authorization: Bearer …",
                headers={"WWW-Authenticate": challenge},
            ) from error
        self._proven[fingerprint] = None
        if len(self._proven) > _PROVEN:
            self._proven.popitem(last=False)
        return principal

    def address(self, request: Request) -> str:
        """Whose failures count together: the client as our own edge names it, else the peer."""
        told = request.headers.get(CLIENT_HEADER.decode())
        if told is not None and self._edge_key is not None:
            address = address_in(self._edge_key, told.encode("latin-1"))
            if address is not None:
                return address_key(address)
        client = request.scope.get("client")
        return address_key(client[0]) if client else "unknown"


def _limit(verdict: Verdict) -> str:
    return f'"caller";r={verdict.remaining};t={math.ceil(verdict.wait_seconds)}'


def _too_many(detail: str, wait: float) -> Problem:
    return Problem(
        429, "too-many-requests", "Too many requests", detail, headers={"Retry-After": str(max(1, math.ceil(wait)))}
    )
