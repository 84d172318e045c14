"""The HTTP side of every service: the app, its limits, its answers, and what path operations use."""

from shared.http import idempotency
from shared.http.application import api
from shared.http.conditional import IfMatch, etag, if_match, if_none_match, not_modified, stale
from shared.http.context import correlation, traceparent
from shared.http.cursor import Cursor, CursorText, Page, PageLimit, page_link, query_of
from shared.http.dependencies import CurrentPrincipal, requires, requires_or_service
from shared.http.idempotency import IdempotencyKey, fingerprint
from shared.http.openapi import problems
from shared.http.route import Router
from shared.http.settings import HttpSettings
from shared.http.text import SingleLine

__all__ = [
    "CurrentPrincipal",
    "Cursor",
    "CursorText",
    "HttpSettings",
    "IdempotencyKey",
    "IfMatch",
    "Page",
    "PageLimit",
    "Router",
    "SingleLine",
    "api",
    "correlation",
    "etag",
    "fingerprint",
    "idempotency",
    "if_match",
    "if_none_match",
    "not_modified",
    "page_link",
    "problems",
    "query_of",
    "requires",
    "requires_or_service",
    "stale",
    "traceparent",
]
