"""Merges and handovers at random: no circles, one open handover, one end for each, an unbroken chain and ledger."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.tickets.domain import assignment, audit, merging, transfer, workflow
from services.tickets.domain.assignment import Choice
from services.tickets.domain.merging import Merge, Refused
from services.tickets.domain.ticket import MAX_WATCHERS
from services.tickets.domain.work import Work
from services.tickets.domain.workflow import Given, Move, Mover
from shared.contracts.decision import TicketMerged, TicketTransferChanged, TicketUnmerged, TransferState
from shared.contracts.ticket import LedgerEntry, LedgerKind
from tests.support.dose import examples
from tests.unit.tickets.desk import PACK, START, act, agent_id, opened, person

NAMES = ("rita", "vera", "tom", "uma")
ticket = st.integers(0, len(NAMES) - 1)
agent = st.integers(0, 2)


class Desk(RuleBasedStateMachine):
    """Four tickets, read and stored again between inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.works = [Work.on(opened(sender=name, source=name).ticket) for name in NAMES]
        self.place = {work.ticket.id: n for n, work in enumerate(self.works)}
        self.made: dict[UUID, Merge] = {}
        self.ends: Counter[UUID] = Counter()
        self.asked: set[UUID] = set()
        self.chains: list[list[audit.Entry]] = [[] for _ in NAMES]
        self.ledgers: list[dict[int, LedgerEntry]] = [{} for _ in NAMES]

    def _store(self) -> None:
        for n, work in enumerate(self.works):
            self.chains[n] += [one.entry for one in work.records]
            for entry in (*work.archived, *work.ticket.ledger):
                assert self.ledgers[n].setdefault(entry.number, entry) == entry
            for fact in work.facts:
                if isinstance(fact, TicketTransferChanged):
                    if fact.state == TransferState.REQUESTED:
                        self.asked.add(fact.transfer_id)
                    else:
                        self.ends[fact.transfer_id] += 1
            self.works[n] = Work.on(work.ticket)

    def _begin(self, *numbers: int) -> None:
        self.now += timedelta(seconds=7)
        for n in numbers:
            self.works[n].begin(self.now)

    def _end(self, n: int) -> int:
        into = self.works[n].ticket.merged_into
        return n if into is None else self._end(self.place[into])

    @rule(one=ticket, into=ticket, follow=st.booleans())
    def merge(self, one: int, into: int, follow: bool) -> None:
        end = self._end(into)
        source, target = self.works[one], self.works[end]
        if merging.refusal(source.ticket, target.ticket) is not None:
            assert source.ticket.merged_into or one == end or target.ticket.closed
            return
        self._begin(one, end)
        made = merging.merge(source, target, act(at=self.now), None, follow=follow)
        self.made[made.ticket_id] = made
        assert [type(fact) for fact in source.facts if isinstance(fact, TicketMerged)] == [TicketMerged]
        assert source.ticket.ledger[-1].kind is LedgerKind.MERGED
        self._store()

    @rule(one=ticket)
    def unmerge(self, one: int) -> None:
        source = self.works[one]
        into = source.ticket.merged_into
        if isinstance(merging.unmergeable(source.ticket, self.now), Refused) or into is None:
            return
        target = self.works[self.place[into]]
        free = target.ticket.merged_into is None
        before = source.ticket
        self._begin(one, *([self.place[into]] if free else []))
        merging.unmerge(
            source,
            target if free else None,
            PACK.machine,
            act(at=self.now),
            number=target.ticket.number,
            made=self.made.get(source.ticket.id),
            reason=None,
        )
        assert (source.ticket.status, source.ticket.cycle) == (before.status, before.cycle + 1)
        assert any(isinstance(fact, TicketUnmerged) for fact in source.facts)
        self._store()

    @rule(one=ticket, to=agent)
    def ask(self, one: int, to: int) -> None:
        work = self.works[one]
        free = work.ticket.active and work.ticket.transfer is None
        if not free or work.ticket.assignee_id == agent_id(to):
            return
        self._begin(one)
        identity = uuid5(work.ticket.id, str(self.now))
        transfer.ask(work, identity, agent_id(to), None, act(at=self.now), minutes=10)
        self._store()

    @rule(one=ticket, state=st.sampled_from([TransferState.ACCEPTED, TransferState.DECLINED, TransferState.EXPIRED]))
    def answer(self, one: int, state: TransferState) -> None:
        work = self.works[one]
        asked = work.ticket.transfer
        if asked is None or work.ticket.merged_into is not None:
            return
        owner = work.ticket.assignee_id
        self._begin(one)
        transfer.close(work, state, act(at=self.now))
        if state is TransferState.ACCEPTED:
            choice = Choice(person_id=asked.to_id, team_id=None, load=1, capacity=5)
            assignment.apply(work, PACK.machine, choice, "transfer", act(at=self.now))
        assert work.ticket.assignee_id == (asked.to_id if state is TransferState.ACCEPTED else owner)
        self._store()

    @rule(one=ticket, to=st.none() | agent)
    def assign(self, one: int, to: int | None) -> None:
        work = self.works[one]
        if not work.ticket.active:
            return
        self._begin(one)
        choice = None if to is None else Choice(person_id=agent_id(to), team_id=None, load=1, capacity=5)
        assignment.apply(work, PACK.machine, choice, "manual", act(at=self.now))
        self._store()

    @rule(one=ticket, to=st.sampled_from(["open", "solved", "closed", "reopened"]))
    def move(self, one: int, to: str) -> None:
        work = self.works[one]
        given = Given(reason="r", resolution="s")
        found = workflow.transition(PACK.machine, work.ticket, to, Mover(role="admin", own=True), given)
        if isinstance(found, Move):
            self._begin(one)
            workflow.apply(work, PACK.machine, found, act(at=self.now), given)
            self._store()

    @invariant()
    def no_merge_leads_in_a_circle(self) -> None:
        for n in range(len(NAMES)):
            seen: set[UUID] = set()
            at = self.works[n].ticket
            while at.merged_into is not None:
                assert at.id not in seen
                seen.add(at.id)
                at = self.works[self.place[at.merged_into]].ticket

    @invariant()
    def only_active_tickets_wait_for_a_handover_and_each_ends_once(self) -> None:
        waiting = set()
        for work in self.works:
            if work.ticket.transfer is not None:
                assert work.ticket.active
                assert work.ticket.transfer.to_id != work.ticket.assignee_id
                waiting.add(work.ticket.transfer.id)
        assert all(count == 1 for count in self.ends.values())
        assert self.asked == waiting | set(self.ends)
        assert not waiting & set(self.ends)

    @invariant()
    def chains_and_ledgers_are_whole(self) -> None:
        for n, work in enumerate(self.works):
            head = work.ticket
            first = [one.entry for one in opened(sender=NAMES[n], source=NAMES[n]).records]
            anchor = audit.Anchor(head.audit_count, head.audit_head)
            assert not audit.verify([*first, *self.chains[n]], anchor)
            entries = {entry.number for entry in head.ledger} | self.ledgers[n].keys()
            assert entries == set(range(1, head.ledger_count + 1))
            assert len(head.watcher_ids) <= MAX_WATCHERS
            assert head.requester_id not in head.watcher_ids


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=examples(12), stateful_step_count=30, deadline=None)


def test_a_full_circle_of_watchers_takes_no_more_and_loses_none() -> None:
    work = Work.on(opened().ticket.but(watcher_ids=tuple(agent_id(n) for n in range(MAX_WATCHERS - 1))))
    assert merging.watch(work, (person("a"), person("b"), person("rita"))) == (person("a"),)
    assert len(work.ticket.watcher_ids) == MAX_WATCHERS


@pytest.mark.parametrize(("days", "refused"), [(30, None), (31, "too_late")])
def test_a_merge_can_be_taken_back_for_thirty_days(days: int, refused: str | None) -> None:
    merged = opened().ticket.but(merged_into=agent_id(1), merged_at=START)
    found = merging.unmergeable(merged, START + timedelta(days=days))
    assert (found.code if found else None) == refused
