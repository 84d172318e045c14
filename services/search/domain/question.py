"""What people type, and the query it becomes.

Never the engine's own syntax: words (all of them wanted), "phrases", -unwanted, `a | b`, wor* . A word also finds its
misspellings. Every query has the tenant in its filter, and of somebody who may not read internal notes it names no
field that holds any; a property test holds both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

MAX_QUERY = 400
"""Characters of a question."""
MAX_TERMS = 16
PUBLIC_FIELDS: Final = ("subject^3", "public_text")
INTERNAL_FIELDS: Final = ("internal_text",)
FACETS: Final[Mapping[str, str]] = {
    "status": "status",
    "category": "category",
    "about": "about",
    "priority": "priority",
    "queue": "queue",
    "assignee": "assignee_id",
    "team": "team_id",
    "requester": "requester_id",
    "organisation": "organisation_id",
    "tag": "tags",
    "language": "language",
    "product": "product",
    "tier": "tier",
    "channel": "channel",
}
"""Name of a filter and of a facet → field of the index."""
FACET_SIZE = 20
SORTS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "relevance": (("_score", "desc"), ("updated_at", "desc"), ("ticket_id", "asc")),
    "updated_at": (("updated_at", "asc"), ("ticket_id", "asc")),
    "-updated_at": (("updated_at", "desc"), ("ticket_id", "asc")),
    "created_at": (("created_at", "asc"), ("ticket_id", "asc")),
    "-created_at": (("created_at", "desc"), ("ticket_id", "asc")),
    "priority": (("rank", "asc"), ("created_at", "asc"), ("ticket_id", "asc")),
    "-priority": (("rank", "desc"), ("created_at", "asc"), ("ticket_id", "asc")),
}
TOTAL_UP_TO = 10_000
"""Hits counted exactly; beyond it the answer says `at least`."""
UNREAD: Final = ("public_text", "internal_text", "gist")
"""Fields of a document that no hit carries whole."""

_ITEM = re.compile(r'(?P<minus>-)?(?:"(?P<phrase>[^"]*)"?|(?P<bar>\|)|(?P<word>[^\s"|]+))')
_NUMBER = re.compile(r"(?:[a-z]{1,10}-)?(?:\d{4}-)?0*(?P<tail>\d{1,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whose question it is, as far as it decides what they may find."""

    tenant_id: str
    all_tickets: bool = False
    person_id: UUID | None = None
    """Whose own and watched tickets may be found, where not all may."""
    internal: bool = False
    """Whether internal notes may be searched and shown."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts this reader may search."""
        return PUBLIC_FIELDS + INTERNAL_FIELDS if self.internal and self.all_tickets else PUBLIC_FIELDS

    def filters(self) -> list[dict[str, Any]]:
        """What every hit must be: of the tenant, and within the reader's scope."""
        tenant: dict[str, Any] = {"term": {"tenant_id": self.tenant_id}}
        if self.all_tickets:
            return [tenant]
        if self.person_id is None:
            return [tenant, {"match_none": {}}]
        person = str(self.person_id)
        own = [{"term": {"requester_id": person}}, {"term": {"watcher_ids": person}}]
        return [tenant, {"bool": {"should": own, "minimum_should_match": 1}}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One search."""

    text: str = ""
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name of a facet → values of which one must be there."""
    created_from: datetime | None = None
    created_to: datetime | None = None
    merged: bool = False
    """Whether tickets that go on in another one are found too."""
    facets: Sequence[str] = ()
    sort: str = "relevance"
    after: Sequence[Any] | None = None
    limit: int = 20


class QuestionError(ValueError):
    """The text cannot be asked; says why."""


@dataclass(frozen=True, slots=True)
class _Term:
    text: str
    phrase: bool = False
    unwanted: bool = False
    prefix: bool = False


def request(reader: Reader, question: Question, *, seconds: float) -> dict[str, Any]:
    """The body of one search. Raises QuestionError."""
    clauses, unwanted = _texts(reader, question.text)
    wanted: dict[str, Any] = {"filter": [*reader.filters(), *_filters(question)], "must_not": unwanted}
    if clauses:
        wanted |= {"must": [_number_or(question.text, clauses)]}
    body: dict[str, Any] = {
        "query": {"bool": wanted},
        "size": question.limit,
        "sort": [{name: {"order": order}} for name, order in SORTS[question.sort]],
        "track_scores": question.sort == "relevance",
        "track_total_hits": TOTAL_UP_TO,
        "timeout": f"{int(seconds * 1000)}ms",
        "_source": {"excludes": list(UNREAD)},
    }
    if question.after is not None:
        body["search_after"] = list(question.after)
    elif question.facets:
        body["aggs"] = {name: {"terms": {"field": FACETS[name], "size": FACET_SIZE}} for name in question.facets}
    if clauses:
        body["highlight"] = highlight(reader)
    return body


def highlight(reader: Reader) -> dict[str, Any]:
    """Pieces of text with what was found marked: escaped by the engine, so that `<mark>` is the only markup."""
    return {
        "encoder": "html",
        "pre_tags": ["<mark>"],
        "post_tags": ["</mark>"],
        "max_analyzer_offset": 100_000,
        "fields": {
            name.partition("^")[0]: {
                "number_of_fragments": 0 if name.startswith("subject") else 2,
                "fragment_size": 160,
            }
            for name in reader.fields
        },
    }


def similar(
    reader: Reader, text: str, words: Sequence[str], *, without: UUID | None, limit: int, seconds: float
) -> dict[str, Any]:
    """Tickets like a text: of its telling words, and of all of it as the engine weighs it. Public text only."""
    should: list[dict[str, Any]] = [
        {
            "more_like_this": {
                "fields": ["subject", "public_text"],
                "like": [text],
                "max_query_terms": 25,
                "min_term_freq": 1,
                "min_doc_freq": 1,
                "minimum_should_match": "25%",
            }
        }
    ]
    if words:
        should.append({"match": {"gist": {"query": " ".join(words), "minimum_should_match": _LOOSE, "boost": 2.0}}})
    itself = [{"ids": {"values": [str(without)]}}] if without is not None else []
    return {
        "query": {
            "bool": {
                "filter": [*reader.filters(), {"term": {"merged": False}}],
                "must_not": itself,
                "should": should,
                "minimum_should_match": 1,
            }
        },
        "size": limit,
        "timeout": f"{int(seconds * 1000)}ms",
        "_source": {"excludes": ["public_text", "internal_text"]},
    }


def duplicates(tenant_id: str, ticket_id: UUID, words: Sequence[str], *, solved_after: datetime) -> dict[str, Any]:
    """Candidates for what a new ticket repeats: cheap, by its telling words alone; they are judged afterwards."""
    going_on = [
        {"bool": {"must_not": [{"terms": {"category": ["solved", "closed"]}}]}},
        {"range": {"updated_at": {"gte": solved_after.isoformat()}}},
    ]
    return {
        "query": {
            "bool": {
                "filter": [
                    {"term": {"tenant_id": tenant_id}},
                    {"term": {"merged": False}},
                    {"bool": {"should": going_on, "minimum_should_match": 1}},
                ],
                "must_not": [{"ids": {"values": [str(ticket_id)]}}],
                "must": [{"match": {"gist": {"query": " ".join(words), "minimum_should_match": _LOOSE}}}],
            }
        },
        "size": 12,
        "track_total_hits": False,
        "timeout": "1s",
        "_source": ["ticket_id", "number", "requester_id", "created_at", "channel", "product", "gist"],
    }


_LOOSE = "2<30%"
"""Up to two words: all of them; more: three in ten."""


def _filters(question: Question) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"terms": {FACETS[name]: list(values)}} for name, values in question.filters.items() if values
    ]
    if not question.merged:
        found.append({"term": {"merged": False}})
    span = {
        name: at.isoformat()
        for name, at in (("gte", question.created_from), ("lt", question.created_to))
        if at is not None
    }
    if span:
        found.append({"range": {"created_at": span}})
    return found


def _texts(reader: Reader, text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The clauses that must match, and those that must not."""
    fields = list(reader.fields)
    groups, unwanted = _terms(text)
    wanted = []
    for group in groups:
        clauses = [_clause(fields, term) for term in group]
        wanted.append(clauses[0] if len(clauses) == 1 else {"bool": {"should": clauses, "minimum_should_match": 1}})
    return wanted, [_clause(fields, term) for term in unwanted]


def _terms(text: str) -> tuple[list[list[_Term]], list[_Term]]:
    """Groups of alternatives, of which each group must match, and unwanted terms. Raises QuestionError."""
    groups: list[list[_Term]] = []
    unwanted: list[_Term] = []
    joined = False
    for match in _ITEM.finditer(text):
        if match["bar"]:
            joined = bool(groups)
            continue
        term = _term(match)
        if term is None:
            continue
        if term.unwanted:
            unwanted.append(term)
        elif joined:
            groups[-1].append(term)
        else:
            groups.append([term])
        joined = False
    if sum(map(len, groups)) + len(unwanted) > MAX_TERMS:
        raise QuestionError(f"at most {MAX_TERMS} words and phrases")
    return groups, unwanted


def _term(match: re.Match[str]) -> _Term | None:
    unwanted = match["minus"] is not None
    if match["phrase"] is not None:
        phrase = match["phrase"].strip()
        return _Term(phrase, phrase=True, unwanted=unwanted) if phrase else None
    word = match["word"]
    if word is None:
        return None
    stem = word.rstrip("*")
    if not any(c.isalnum() for c in stem):
        return None
    # A shorter beginning would be expanded to half of all words there are.
    return _Term(stem, unwanted=unwanted, prefix=stem != word and len(stem) >= 3)


def _clause(fields: list[str], term: _Term) -> dict[str, Any]:
    match: dict[str, Any] = {"query": term.text, "fields": fields}
    if term.phrase:
        match["type"] = "phrase"
    elif term.prefix:
        match |= {"type": "phrase_prefix", "max_expansions": 50}
    elif not term.unwanted:
        match |= {"operator": "and", "fuzziness": "AUTO:4,8", "prefix_length": 1, "max_expansions": 25}
    else:
        match["operator"] = "and"
    return {"multi_match": match}


def _number_or(text: str, clauses: list[dict[str, Any]]) -> dict[str, Any]:
    """A question that is a ticket's number finds that ticket first; as text it may be in others too."""
    found = _NUMBER.fullmatch(text.strip())
    words = {"bool": {"must": clauses}}
    if found is None:
        return words
    exact = [
        {"constant_score": {"filter": {"term": {"number": text.strip()}}, "boost": 10_000}},
        {"constant_score": {"filter": {"term": {"number_tail": found["tail"]}}, "boost": 1_000}},
    ]
    return {"bool": {"should": [*exact, words], "minimum_should_match": 1}}
