"""The life of a ticket at random: whatever is done in whatever order, the rules hold."""

from __future__ import annotations

import random
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.tickets.domain import assignment, audit, conversation, fields, ledger, snapshot, workflow
from services.tickets.domain.assignment import Choice
from services.tickets.domain.ticket import joined
from services.tickets.domain.work import Work
from services.tickets.domain.workflow import Given, Move, Mover
from shared.contracts.ticket import AuthorKind, LedgerEntry, LedgerKind, TicketMessage, Visibility
from tests.support.dose import examples
from tests.unit.tickets.desk import PACK, START, act, agent_id, message, opened, person


class Life(RuleBasedStateMachine):
    """One ticket, read and stored again between inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.chain: list[audit.Recorded] = []
        self.ledger: dict[int, LedgerEntry] = {}
        self.versions = [0]
        self.revisions = [0]
        self.sources = 0
        self.work = Work(opened().ticket)

    @initialize(automatic=st.booleans())
    def open(self, automatic: bool) -> None:
        self.work = opened(automatic=automatic)
        self._store()

    def _store(self) -> None:
        """What saving does, and what the database would then hold."""
        before = self.work.stored
        snapshot.publish(self.work)
        ticket = self.work.ticket
        self.chain += self.work.records
        for entry in (*self.work.archived, *ticket.ledger):
            assert self.ledger.setdefault(entry.number, entry) == entry, "a written entry never changes"
        self.versions.append(ticket.version)
        self.revisions.append(ticket.revision)
        for fact in self.work.facts:
            assert fact.ticket.version <= ticket.version
        if before is not None and before.status != ticket.status:
            assert self.work.facts, "a state never changes silently"
        self.work = Work.on(ticket)

    def _tick(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        sender=st.sampled_from(["rita", "carl", "ann"]),
        automatic=st.booleans(),
        internal=st.booleans(),
        seconds=st.integers(0, 5000),
    )
    def write(self, sender: str, automatic: bool, internal: bool, seconds: int) -> None:
        self._tick(seconds)
        self.sources += 1
        side = AuthorKind.AGENT if sender == "ann" or internal else AuthorKind.REQUESTER
        one = TicketMessage(
            message_id=message(sender, str(self.sources)).message_id,
            author_kind=side,
            author_id=person(sender),
            visibility=Visibility.INTERNAL if internal else Visibility.PUBLIC,
            channel="email",
            body=message().body,
            automatic=automatic,
            created_at=self.now,
        )
        before = self.work.ticket
        self.work.begin(self.now)
        conversation.add(self.work, PACK.machine, one, act(sender, self.now), received_at=self.now)
        after = self.work.ticket
        if automatic or internal:
            assert (after.status, after.ledger_count) == (before.status, before.ledger_count)
        self._store()

    @rule(
        to=st.sampled_from(sorted(PACK.machine.states)),
        role=st.sampled_from(["customer", "agent", "team_lead", "service"]),
        given=st.builds(Given, reason=st.none() | st.just("r"), resolution=st.none() | st.just("s")),
        seconds=st.integers(0, 5000),
    )
    def move(self, to: str, role: str, given: Given, seconds: int) -> None:
        self._tick(seconds)
        mover = Mover(role=role, own=role == "customer")
        move = workflow.transition(PACK.machine, self.work.ticket, to, mover, given)
        if not isinstance(move, Move):
            assert move.detail
            return
        before = self.work.ticket
        self.work.begin(self.now)
        workflow.apply(self.work, PACK.machine, move, act(at=self.now), given)
        assert self.work.ticket.cycle == before.cycle + (1 if move.arrow.new_cycle else 0)
        self._store()

    @rule(n=st.none() | st.integers(0, 3))
    def assign(self, n: int | None) -> None:
        choice = None if n is None else Choice(person_id=agent_id(n), team_id=None, load=1, capacity=5)
        self.work.begin(self.now)
        assignment.apply(
            self.work, PACK.machine, choice, "manual", act("lea", self.now), untouched_minutes=30 if n else None
        )
        self._store()

    @rule(priority=st.sampled_from(["P1", "p2", "P9"]), tier=st.none() | st.sampled_from(["gold", "tin"]))
    def patch(self, priority: str, tier: str | None) -> None:
        before = self.work.ticket
        wrong = fields.patch(self.work, PACK, {"priority": priority, "tier": tier}, frozenset(), act(at=self.now))
        if wrong:
            assert self.work.ticket == before, "all or nothing"
            return
        if self.work.changed:
            self._store()

    @invariant()
    def the_ledger_is_numbered_without_gap_and_ordered(self) -> None:
        numbers = sorted(self.ledger)
        assert numbers == list(range(1, self.work.ticket.ledger_count + 1))
        own = [e.at for n, e in sorted(self.ledger.items()) if e.kind != "opened"]
        assert own == sorted(own)
        assert len(self.work.ticket.ledger) <= ledger.WINDOW

    @invariant()
    def the_ledger_says_what_the_ticket_says(self) -> None:
        latest = {entry.kind: entry.value for _, entry in sorted(self.ledger.items())}
        ticket = self.work.ticket
        if not self.ledger:
            return
        assert latest["status"] == ticket.status
        assert latest["priority"] == ticket.priority
        assert latest.get("assignee", "") == (str(ticket.assignee_id) if ticket.assignee_id else "")
        assert latest.get("tier", "") == (ticket.tier or "")
        assert sum(entry.kind == "opened" for entry in self.ledger.values()) == int(ticket.opened)
        assert len(ticket.sealed) == min(ticket.cycle - 1, ledger.MAX_SEALED)

    @invariant()
    def versions_and_revisions_only_rise(self) -> None:
        assert self.versions == sorted(set(self.versions))
        assert self.revisions == sorted(set(self.revisions))

    @invariant()
    def the_audit_chain_is_whole(self) -> None:
        ticket = self.work.ticket
        if self.chain:
            anchor = audit.Anchor(ticket.audit_count, ticket.audit_head)
            openings = {r.entry.number: r.openings for r in self.chain}
            assert audit.verify([r.entry for r in self.chain], anchor, openings) == []

    @invariant()
    def the_snapshot_is_small(self) -> None:
        assert len(snapshot.of(self.work.ticket, ()).to_bytes()) < snapshot.MAX_BYTES


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=examples(30), stateful_step_count=30, deadline=None)


def test_a_cycle_that_outgrows_its_window_keeps_its_first_entry_and_archives_the_rest() -> None:
    work = Work.on(opened().ticket)
    first = work.ticket.ledger[0]
    rng = random.Random(5)
    for n in range(3 * ledger.WINDOW):
        ledger.write(work, rng.choice(list(LedgerKind)), str(n), START)
    assert work.ticket.ledger[0] == first
    assert len(work.ticket.ledger) == ledger.WINDOW
    numbers = sorted(e.number for e in (*work.archived, *work.ticket.ledger))
    assert numbers == list(range(1, work.ticket.ledger_count + 1))


def test_a_newcomer_pushes_out_the_oldest_participant_but_never_the_requester() -> None:
    work = Work.on(opened().ticket)
    for n in range(600):
        work.change(participant_ids=joined(work.ticket.participant_ids, (agent_id(n),), 500))
    assert len(work.ticket.participant_ids) == 500
    assert work.ticket.participant_ids[0] == person("rita")
    assert agent_id(599) in work.ticket.participant_ids
    assert agent_id(0) not in work.ticket.participant_ids
