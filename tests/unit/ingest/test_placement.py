"""Which conversation a message joins, whatever the order of arrival."""

from __future__ import annotations

import itertools
from uuid import UUID, uuid4, uuid5

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import Draft, participant, thread_key
from services.ingest.placement import Index, Known, ids_wanted, keys_wanted, place
from shared.contracts.message import Channel, Parent

SPACE = UUID(int=7)


def draft(name: str, *answers: str, tenant: str = "acme", **more: object) -> Draft:
    values: dict[str, object] = {
        "tenant_id": tenant,
        "message_id": uuid5(SPACE, f"{tenant}/{name}"),
        "channel": Channel.EMAIL,
        "sender": participant(tenant, "a@x.example"),
        "fingerprint": b"",
        "keys": (thread_key("mail", name),),
        "answers": tuple(thread_key("mail", one) for one in answers),
    }
    return Draft(**(values | more))  # type: ignore[arg-type]


def test_a_message_that_answers_nothing_begins_its_own_conversation() -> None:
    one = draft("a")
    (placed,) = place([one], Index())
    assert (placed.conversation_id, placed.parent, placed.parent_message_id) == (one.message_id, Parent.NONE, None)


def test_an_answer_joins_the_nearest_known_ancestor() -> None:
    root, other, answer = draft("root"), draft("other"), draft("answer", "unseen", "other", "root")
    placed = place([root, other, answer], Index())
    assert placed[2].conversation_id == placed[1].conversation_id
    assert (placed[2].parent, placed[2].parent_message_id) == (Parent.KNOWN, other.message_id)


def test_foreign_names_never_join_two_conversations() -> None:
    one, two, both = draft("one"), draft("two"), draft("both", "one", "two")
    placed = place([one, two, both], Index())
    assert placed[0].conversation_id != placed[1].conversation_id


def test_an_answer_that_came_first_keeps_a_place_for_its_parent() -> None:
    answer, parent = draft("answer", "parent"), draft("parent")
    placed = place([answer, parent], Index())
    assert placed[0].parent == Parent.UNKNOWN
    assert placed[1].parent == Parent.NONE
    assert placed[0].conversation_id == placed[1].conversation_id == answer.message_id


def test_another_tenants_thread_does_not_exist() -> None:
    placed = place([draft("a"), draft("b", "a", tenant="beta")], Index())
    assert placed[1].parent == Parent.UNKNOWN
    assert placed[0].conversation_id != placed[1].conversation_id


def test_a_token_leads_to_the_tickets_conversation() -> None:
    ticket, opener, conversation = uuid4(), uuid4(), uuid4()
    index = Index(ids={("acme", ticket): Known(opener, conversation)})
    one = draft("a", "unheard", token_ticket_id=ticket)
    assert ids_wanted([one]) == [("acme", ticket)]
    (placed,) = place([one], index)
    assert (placed.conversation_id, placed.parent_message_id) == (conversation, opener)


def test_a_message_that_names_itself_answers_nothing_known() -> None:
    one = draft("a", "a")
    (placed,) = place([one], Index())
    assert placed.parent_message_id is None


def test_a_thousand_references_take_few_places() -> None:
    index = Index()
    place([draft("a", *(f"r{n}" for n in range(50)))], index)
    assert len(index.added) == 11


def test_keys_are_wanted_in_one_order_whoever_asks() -> None:
    drafts = [draft(str(n), *(str(m) for m in range(n))) for n in range(8)]
    assert keys_wanted(drafts) == keys_wanted(drafts[::-1]) == sorted(set(keys_wanted(drafts)))


CHAIN = ["a", "b", "c", "d"]


def chain() -> list[Draft]:
    """A thread in which everybody names all ancestors, as mail programs do."""
    return [draft(name, *reversed(CHAIN[:number])) for number, name in enumerate(CHAIN)]


def test_a_thread_is_one_conversation_in_any_order_of_arrival() -> None:
    for order in itertools.permutations(chain()):
        placed = place(order, Index())
        assert len({one.conversation_id for one in placed}) == 1


@given(st.permutations(chain()), st.integers(1, 4))
def test_a_thread_is_one_conversation_however_it_is_cut_into_transactions(order: list[Draft], size: int) -> None:
    stored: dict[tuple[str, bytes], Known] = {}
    conversations = set()
    for start in range(0, len(order), size):
        index = Index(keys=dict(stored))
        conversations |= {one.conversation_id for one in place(order[start : start + size], index)}
        stored |= index.added
        stored |= {key: known for key, (known, _) in index.filled.items()}
    assert len(conversations) == 1
