"""A model of waiting keys against the real ones: what is handled in which order, what waits, and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from shared import parked
from tests.support.faults.contracts import Asked
from tests.support.faults.ground import SERVICE, FakeRecord, Ground, Thread, fact

pytestmark = pytest.mark.engines


@dataclass
class Held:
    """One event put away, in the model."""

    record: FakeRecord
    parked: bool = False


class Machine(RuleBasedStateMachine):
    """Events of a few keys; some need a parent, some are poison; duplicates and redeliveries of all."""

    url: str
    thread: Thread

    def __init__(self) -> None:
        super().__init__()
        self.ground = self.thread.run(Ground.connect(self.url))
        self.topic: list[FakeRecord] = []
        self.position = 0
        self.known: set[str] = set()
        self.repaired = False
        self.done: set[UUID] = set()
        self.effects: dict[str, list[UUID]] = defaultdict(list)
        self.queues: dict[str, list[Held]] = {}

    # --- the model -----------------------------------------------------------------------------------------------

    def _handles(self, record: FakeRecord) -> bool:
        """Handle an event if that is possible now."""
        event = record.event
        if event.kind == "child" and event.about not in self.known:
            return False
        if event.kind == "poison" and not self.repaired:
            return False
        self.done.add(record.id)
        self.effects[event.thing].append(record.id)
        return True

    def _delivered(self, record: FakeRecord) -> None:
        key = record.event.thing
        queue = self.queues.get(key)
        if queue is not None:
            if record.offset not in [held.record.offset for held in queue]:
                queue.append(Held(record))
        elif record.id not in self.done and not self._handles(record):
            self.queues[key] = [Held(record, parked=record.event.kind == "poison")]

    def _drained(self) -> None:
        for key, queue in list(self.queues.items()):
            while queue:
                head = queue[0]
                if head.record.id in self.done:
                    del queue[0]
                elif head.parked:
                    break
                elif self._handles(head.record):
                    del queue[0]
                else:
                    head.parked = head.record.event.kind == "poison"
                    break
            if not queue:
                del self.queues[key]

    # --- what happens --------------------------------------------------------------------------------------------

    @rule(
        key=st.sampled_from("ab"),
        kind=st.sampled_from(["plain", "child", "child", "poison"]),
        about=st.sampled_from("pqrstuvw"),
    )
    def arrives(self, key: str, kind: str, about: str) -> None:
        offset = len(self.topic)
        event = Asked(tenant_id="acme", thing=key, seq=offset, kind=kind, about=about if kind == "child" else "")
        self.topic.append(fact(offset, event))

    @precondition(lambda self: self.topic)
    @rule(data=st.data())
    def arrives_again(self, data: st.DataObject) -> None:
        former = data.draw(st.sampled_from(self.topic))
        self.topic.append(fact(len(self.topic), former.event, former.id))

    @precondition(lambda self: self.position < len(self.topic))
    @rule(count=st.integers(1, 6))
    def a_batch_is_handled(self, count: int) -> None:
        batch = self.topic[self.position : self.position + count]
        done = self.thread.run(self.ground.handle(batch))
        assert sorted(item.record.offset for item in done) == [record.offset for record in batch]
        self.position += len(batch)
        for record in batch:
            self._delivered(record)

    @precondition(lambda self: self.position < len(self.topic))
    @rule()
    def everything_is_handled_and_drained(self) -> None:
        self.a_batch_is_handled(len(self.topic) - self.position)
        self.the_drain_runs()

    @rule(back=st.integers(1, 8))
    def it_is_delivered_again(self, back: int) -> None:
        self.position = max(0, self.position - back)

    @rule(name=st.sampled_from("pqrstuvw"), wanted=st.integers(0, 3))
    def what_is_missing_arrives(self, name: str, wanted: int) -> None:
        """Mostly something that somebody waits for."""
        missed = sorted({queue[0].record.event.about for queue in self.queues.values()} - {""})
        chosen = missed[wanted % len(missed)] if wanted and missed else name
        self.thread.run(self.ground.store(chosen))
        self.known.add(chosen)

    @precondition(lambda self: not self.repaired)
    @rule()
    def the_handler_is_repaired(self) -> None:
        self.thread.run(self.ground.database.execute("INSERT INTO repaired DEFAULT VALUES"))
        self.repaired = True

    @precondition(lambda self: self.queues)
    @rule()
    def the_drain_runs(self) -> None:
        self._step()
        # What was woken, or follows what was, needs no second look; what was not has the next one only later.
        heads = self.thread.run(self._heads())
        for key, (_, reason, missing) in heads.items():
            assert not (reason == "not_yet" and missing in self.known), f"{key} was not woken"
        for _ in range(4):
            self.thread.run(self.ground.database.execute("UPDATE waiting SET due_at = now() WHERE due_at IS NOT NULL"))
            self._step()
        self._drained()
        heads = self.thread.run(self._heads())
        for key, queue in self.queues.items():
            offset, reason, missing = heads[key]
            assert offset == queue[0].record.offset
            assert reason == ("poison" if queue[0].parked else "not_yet"), key
            assert queue[0].parked or missing == queue[0].record.event.about

    @precondition(lambda self: any(queue[0].parked for queue in self.queues.values()))
    @rule(data=st.data())
    def a_person_releases_a_parked_key(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, queue in self.queues.items() if queue[0].parked)))
        assert self.thread.run(parked.release(self.ground.database, SERVICE, key))
        self.queues[key][0].parked = False
        self.the_drain_runs()

    @precondition(lambda self: any(queue[0].parked for queue in self.queues.values()))
    @rule(data=st.data())
    def a_person_gives_a_parked_event_up(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, queue in self.queues.items() if queue[0].parked)))
        assert self.thread.run(parked.discard(self.ground.database, SERVICE, key)) == 1
        given_up = self.queues[key].pop(0)
        self.done.add(given_up.record.id)
        if not self.queues[key]:
            del self.queues[key]
        else:
            self.the_drain_runs()

    # --- what holds ----------------------------------------------------------------------------------------------

    @invariant()
    def each_key_was_handled_as_the_model_says(self) -> None:
        rows = self.thread.run(self.ground.database.fetch("SELECT key, ce_id FROM effect ORDER BY id"))
        given: dict[str, list[UUID]] = defaultdict(list)
        for row in rows:
            given[row["key"]].append(row["ce_id"])
        assert dict(given) == dict(self.effects)

    @invariant()
    def exactly_what_the_model_says_waits(self) -> None:
        rows = self.thread.run(self.ground.database.fetch('SELECT key, "offset" FROM waiting ORDER BY id'))
        given: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            given[row["key"]].append(row["offset"])
        assert dict(given) == {key: [held.record.offset for held in queue] for key, queue in self.queues.items()}

    @override
    def teardown(self) -> None:
        self.thread.run(self.ground.database.close())

    def _step(self) -> None:
        for _ in range(30):
            if not self.thread.run(self.ground.drain.step()):
                return
        raise AssertionError("the drain never comes to rest")

    async def _heads(self) -> dict[str, tuple[int, str, str | None]]:
        rows = await self.ground.database.fetch(
            'SELECT DISTINCT ON (key) key, "offset", reason, missing_id FROM waiting ORDER BY key, id'
        )
        return {row["key"]: (row["offset"], row["reason"], row["missing_id"]) for row in rows}


@pytest.mark.parametrize(("examples", "steps"), [(50, 40), pytest.param(400, 50, marks=pytest.mark.soak)])
def test_waiting_keys_do_what_their_model_says(machine_url: str, thread: Thread, examples: int, steps: int) -> None:
    bound = type("Bound", (Machine,), {"url": machine_url, "thread": thread})
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=examples < 100,
            # A short run repeats itself exactly and says where it failed; shrinking could take it minutes.
            phases=[Phase.generate] if examples < 100 else list(Phase),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
