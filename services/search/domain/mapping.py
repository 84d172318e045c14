"""The index: its names, its settings, its mapping, and what makes two of them the same.

Public and internal text are two fields, so that a question that may not touch internal notes never names theirs.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

KEYWORD: Final[dict[str, Any]] = {"type": "keyword", "ignore_above": 512}
_FOLDED: Final[dict[str, Any]] = {"type": "keyword", "normalizer": "folded", "ignore_above": 512}
_TEXT: Final[dict[str, Any]] = {"type": "text", "analyzer": "desk"}

# Refused instead of guessed: a field nobody declared is a mistake of ours, and its document is put aside with a reason.
PROPERTIES: Final[dict[str, Any]] = {
    "tenant_id": KEYWORD,
    "ticket_id": KEYWORD,
    "number": _FOLDED,
    "number_tail": KEYWORD,
    "version": {"type": "long", "index": False},
    "revision": {"type": "long", "index": False},
    "subject": _TEXT,
    "public_text": _TEXT,
    "internal_text": _TEXT,
    "gist": {"type": "text", "analyzer": "whitespace"},
    "status": KEYWORD,
    "category": KEYWORD,
    "about": KEYWORD,
    "about_sub": KEYWORD,
    "priority": KEYWORD,
    "rank": {"type": "short"},
    "impact": KEYWORD,
    "urgency": KEYWORD,
    "queue": KEYWORD,
    "assignee_id": KEYWORD,
    "team_id": KEYWORD,
    "requester_id": KEYWORD,
    "organisation_id": KEYWORD,
    "watcher_ids": KEYWORD,
    "tags": KEYWORD,
    "language": KEYWORD,
    "product": KEYWORD,
    "tier": KEYWORD,
    "channel": KEYWORD,
    "merged": {"type": "boolean"},
    "merged_into": KEYWORD,
    "messages": {"type": "integer"},
    "created_at": {"type": "date"},
    "updated_at": {"type": "date"},
}

# Standard segmentation and folding serve every language alike; endings are left to the fuzzy match of a question,
# which costs nothing while indexing.
ANALYSIS: Final[dict[str, Any]] = {
    "normalizer": {"folded": {"type": "custom", "filter": ["lowercase", "asciifolding"]}},
    "analyzer": {"desk": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase", "asciifolding"]}},
}


def index_body(shards: int, replicas: str) -> dict[str, Any]:
    """What an index is created with. A stated refresh interval also keeps an unsearched index from falling asleep."""
    return {
        "settings": {
            "number_of_shards": shards,
            "auto_expand_replicas": replicas,
            "refresh_interval": "1s",
            "analysis": ANALYSIS,
        },
        "mappings": {"dynamic": "strict", "_routing": {"required": True}, "properties": PROPERTIES},
    }


def fingerprint(shards: int) -> str:
    """Changes with everything that needs another index."""
    told = orjson.dumps([PROPERTIES, ANALYSIS, shards], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(told).hexdigest()[:16]


def alias(prefix: str) -> str:
    """What is searched."""
    return f"{prefix}tickets"


def index(prefix: str, number: int) -> str:
    """One index behind the alias."""
    return f"{prefix}tickets-{number}"


def write_alias(name: str) -> str:
    """What an index is written by: with `require_alias` a lost index is an error, not a new one of guessed fields."""
    return f"{name}.write"
