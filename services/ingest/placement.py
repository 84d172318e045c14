"""Which conversation a message belongs to, from the thread index and from its neighbours in the same transaction.

A message joins the conversation of the nearest ancestor that is known. An ancestor named but never seen gets a place
in the index too, so that it, or a sibling that names it as well, joins the same conversation when it comes. A foreign
name never joins two conversations into one. Mails that we sent are in the index as well (`store.sent`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.ingest.domain import Draft, Placement
from shared.contracts.message import Parent

MAX_PLACES = 10
"""Unseen ancestors of one message that get a place in the index: the nearest, and the thread's root."""

Key = tuple[str, bytes]
"""Tenant and thread key."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index holds under a key, or the row of a message."""

    message_id: UUID | None
    conversation_id: UUID
    ticket_id: UUID | None = None
    """Of a mail of ours: the ticket it is about."""


@dataclass(slots=True)
class Index:
    """What is known before, what a batch adds to it, and what a batch fills in."""

    keys: dict[Key, Known] = field(default_factory=dict)
    ids: dict[tuple[str, UUID], Known] = field(default_factory=dict)
    """By message, conversation or ticket id."""
    added: dict[Key, Known] = field(default_factory=dict)
    filled: dict[Key, tuple[Known, UUID]] = field(default_factory=dict)
    """Places whose message has come, each with the conversation that was read there."""
    moved: dict[Key, tuple[Known, UUID | None]] = field(default_factory=dict)
    """Series that go on, each with the message that was read as its newest."""

    def see(self, key: Key, known: Known) -> None:
        """Enter what a draft calls itself or names."""
        before = self.keys.get(key)
        if before is None:
            self.added[key] = known
        elif before.message_id is None and known.message_id is not None:
            if key in self.added:
                self.added[key] = known
            else:
                self.filled[key] = (known, before.conversation_id)
        else:
            return
        self.keys[key] = known

    def go_on(self, key: Key, known: Known) -> None:
        """Enter the newest message of a series."""
        before = self.keys.get(key)
        if before is None or key in self.added:
            self.added[key] = known
        else:
            self.moved[key] = (known, self.moved[key][1] if key in self.moved else before.message_id)
        self.keys[key] = known


def keys_wanted(drafts: Sequence[Draft]) -> list[Key]:
    """Every key whose entry decides a place, sorted, so that all transactions lock in one order."""
    found = {(draft.tenant_id, key) for draft in drafts for key in (*draft.keys, *draft.answers)}
    return sorted(found | {(draft.tenant_id, draft.series) for draft in drafts if draft.series is not None})


def ids_wanted(drafts: Sequence[Draft]) -> list[tuple[str, UUID]]:
    """Every id of ours that a draft answers."""
    found = {(draft.tenant_id, one) for draft in drafts for one in draft.answers_ids}
    found |= {(draft.tenant_id, draft.token_ticket_id) for draft in drafts if draft.token_ticket_id is not None}
    return sorted(found, key=lambda pair: (pair[0], pair[1].int))


def place(drafts: Sequence[Draft], index: Index) -> list[Placement]:
    """Where each draft stands, in the order given; `index` learns what they add."""
    return [_place(draft, index) for draft in drafts]


def _place(draft: Draft, index: Index) -> Placement:
    tenant = draft.tenant_id
    parent = _parent(draft, index)
    named = bool(draft.answers or draft.answers_ids or draft.token_ticket_id)
    if parent is not None:
        placement = Placement(parent.conversation_id, Parent.KNOWN, parent.message_id)
    else:
        own = _first(index.keys, [(tenant, key) for key in draft.keys])
        near = own or _first(index.keys, [(tenant, key) for key in draft.answers])
        # Answers to one ticket that was not opened by a message of ours keep their order all the same.
        conversation = near.conversation_id if near is not None else draft.token_ticket_id or draft.message_id
        ours = next((k for key in draft.answers if (k := index.keys.get((tenant, key))) and k.ticket_id), None)
        placement = Placement(
            conversation,
            Parent.UNKNOWN if named else Parent.NONE,
            answered_ticket_id=None if ours is None else ours.ticket_id,
        )
    here = Known(draft.message_id, placement.conversation_id)
    for key in draft.keys:
        index.see((tenant, key), here)
    for key in dict.fromkeys((*draft.answers[: MAX_PLACES - 1], *draft.answers[-1:])):
        index.see((tenant, key), Known(None, placement.conversation_id))
    if draft.series is not None:
        index.go_on((tenant, draft.series), here)
    index.ids.setdefault((tenant, draft.message_id), here)
    return placement


def _parent(draft: Draft, index: Index) -> Known | None:
    """The nearest ancestor that is stored: by our own ids first, then by what mails call each other."""
    candidates = draft.answers_ids if draft.token_ticket_id is None else (*draft.answers_ids, draft.token_ticket_id)
    for one in candidates:
        known = index.ids.get((draft.tenant_id, one))
        if known is not None and known.message_id not in (None, draft.message_id):
            return known
    if draft.series is not None:
        return index.keys.get((draft.tenant_id, draft.series))
    for key in draft.keys:
        known = index.keys.get((draft.tenant_id, key))
        if known is not None and known.ticket_id is not None and known.message_id is not None:
            # A mail of ours come back: it belongs to its ticket and opens none.
            return known
    for key in draft.answers:
        known = index.keys.get((draft.tenant_id, key))
        if known is not None and known.message_id not in (None, draft.message_id):
            return known
    return None


def _first(keys: Mapping[Key, Known], wanted: Sequence[Key]) -> Known | None:
    return next((keys[key] for key in wanted if key in keys), None)
